/** Handlers of the audit log. */
import { auditProof, listAudit, listCheckpoints, verifyAuditLog } from '../../core/api/audit.ts';
import { CodedError } from '../../core/base/errors.ts';
import { leafHash, MerkleTree } from '../../core/crypto/merkle-log.ts';
import { actorOf } from '../access/permissions.ts';
import { acknowledgeBreak } from '../audit/acknowledge.ts';
import { parseCheckpoint } from '../audit/note.ts';
import { verifyAudit } from '../audit/verify.ts';
import { heardWitnesses, witnessFiles } from '../audit/witnesses.ts';
import { type Handler, handler } from './handler.ts';
import { page, readCursor, timeText, writeCursor } from './pages.ts';
import type { RestParts } from './parts.ts';

/** The tree of the whole log; a proof reads it once and keeps nothing. */
async function treeOf(parts: RestParts, size: number): Promise<MerkleTree> {
  const tree = new MerkleTree();
  for await (const row of parts.store.audit.read(0)) {
    if (row.seq >= size) break;
    tree.append(leafHash(Buffer.from(row.record, 'utf8')));
  }
  return tree;
}

export function auditHandlers(parts: RestParts): readonly Handler[] {
  const { store, clock } = parts;
  return [
    handler(listAudit, async ({ query }) => {
      const at = (text: string | undefined) => (text === undefined ? undefined : Date.parse(text));
      const before = readCursor('audit', query.cursor, 'number', clock.now());
      const rows = await store.audit.list(
        { since: at(query.since), until: at(query.until), actor: query.actor, event: query.event, target: query.target, before },
        query.limit,
      );
      const last = rows.length === query.limit ? rows.at(-1) : undefined;
      const items = rows.map((row) => ({
        spoke: parts.identity.siteId,
        seq: row.seq,
        time: timeText(row.time),
        actor: row.actor,
        event: row.event,
        target: row.target,
        record: JSON.parse(row.record),
      }));
      return page(items, last === undefined ? null : writeCursor('audit', last.seq, clock.now()));
    }),
    handler(verifyAuditLog, async ({ body, principal }) => {
      const { identity } = parts;
      const keyOf = (keyId: string) => (keyId === identity.keyId ? identity.serverKey.publicKey : undefined);
      const given = body.checkpoints.length === 0 ? [] : [{ name: 'the given checkpoint', notes: body.checkpoints }];
      const witnesses = [...given, ...(await heardWitnesses(witnessFiles(parts.settings.audit.witnesses, parts.paths.root)))];
      const findings = await verifyAudit({
        store,
        fleetId: identity.fleetId,
        siteId: identity.siteId,
        former: identity.succession,
        keyOf,
        witnesses,
      });
      if (body.acknowledge === true && findings.length > 0) {
        if (principal.role !== 'admin') throw new CodedError('PERMISSION_DENIED', 'only the role admin acknowledges a broken log');
        await acknowledgeBreak(parts, actorOf(principal), findings);
      }
      return {
        records: await store.audit.count(),
        ok: findings.length === 0,
        findings: findings.map(({ kind, seq, message }) => ({ kind, seq, message })),
      };
    }),
    handler(listCheckpoints, async ({ query }) => {
      const newest = query.newest === 'true' ? await store.checkpoints.newest() : undefined;
      const rows = query.newest === 'true' ? (newest === undefined ? [] : [newest]) : await store.checkpoints.list(query.from, query.limit);
      return { items: rows.map((row) => ({ size: row.size, time: timeText(row.time), note: row.note })) };
    }),
    handler(auditProof, async ({ params }) => {
      const note = await parts.checkpointer.make();
      if (note === undefined) throw new CodedError('NOT_READY', 'there is no checkpoint yet');
      const { size } = parseCheckpoint(note);
      if (params.seq >= size) throw new CodedError('NOT_FOUND', `the log has ${size} records, none ${params.seq}`);
      const tree = await treeOf(parts, size);
      let record = '';
      for await (const row of store.audit.read(params.seq, params.seq + 1)) if (row.seq === params.seq) record = row.record;
      return {
        seq: params.seq,
        size,
        record,
        leaf: leafHash(Buffer.from(record, 'utf8')).toString('base64'),
        path: tree.inclusionProof(params.seq, size).map((hash) => Buffer.from(hash).toString('base64')),
        checkpoint: note,
      };
    }),
  ];
}
