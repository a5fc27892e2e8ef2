/** Copies of the audit logs of all spokes: taken only when they fit what is here and what the spoke has signed; a log that was rewritten is noticed. */
import type { Clock } from '../core/base/clock.ts';
import { CodedError, messageOf } from '../core/base/errors.ts';
import { isPlainObject } from '../core/base/json.ts';
import type { Logger } from '../core/base/log.ts';
import { appendLeaf, emptyFrontier, type Frontier, frontierRoot, isFrontier, leafHash } from '../core/crypto/merkle-log.ts';
import { isSignedBy, parseCheckpoint } from '../server/audit/note.ts';
import type { Metrics } from '../server/observe/metrics.ts';
import { AUDIT_PAGE, auditPull, auditWitness } from '../server/spanner/kinds/audit.ts';
import { type Answer, answers, type LinkSession } from '../server/spanner/link.ts';
import type { SiteAuditHead } from '../server/store/site-audit.ts';
import type { AuditRow, Store } from '../server/store/store.ts';

export interface AuditCopiesParts {
  readonly store: Pick<Store, 'siteAudit' | 'transaction'>;
  readonly fleetId: string;
  /** raw public key of the spoke's server */
  keyOf(spoke: string): Uint8Array | undefined;
  /** the open links to spokes */
  sessions(): Iterable<LinkSession>;
  /** a log that forked or was cut */
  fork(spoke: string, why: string): void;
  readonly metrics?: Metrics | undefined;
  readonly clock: Clock;
  readonly log: Logger;
  readonly everyMs: number;
}

const MAX_RECORD = 64 * 1024;

/** A record as a row; what it says of itself must be its place. @throws CodedError AUDIT_BROKEN */
function rowOf(record: string, seq: number, site: string): AuditRow {
  const broken = (why: string) => new CodedError('AUDIT_BROKEN', `record ${seq} ${why}`);
  if (record.length > MAX_RECORD) throw broken('is too long');
  let value: unknown;
  try {
    value = JSON.parse(record);
  } catch (cause) {
    throw new CodedError('AUDIT_BROKEN', `record ${seq} is no JSON`, { cause });
  }
  if (!isPlainObject(value) || value['seq'] !== seq) throw broken('is not the one of its place');
  if (value['site'] !== site) throw broken('is of another site');
  const time = Date.parse(String(value['time']));
  if (!Number.isFinite(time)) throw broken('has no time');
  const named = (member: unknown, name: string) => (isPlainObject(member) && typeof member[name] === 'string' ? member[name] : '');
  return { seq, time, event: String(value['event']), actor: named(value['actor'], 'name'), target: named(value['target'], 'id'), record };
}

export class AuditCopies {
  readonly answers: readonly Answer[];
  readonly #parts: AuditCopiesParts;
  readonly #pulls = new Map<string, Promise<void>>();
  readonly #end = new AbortController();
  #loop: Promise<void> = Promise.resolve();

  constructor(parts: AuditCopiesParts) {
    this.#parts = parts;
    this.answers = [
      answers(auditWitness, async (_ask, { from }) => ({ checkpoint: (await parts.store.siteAudit.head(from))?.checkpoint ?? '' })),
    ];
  }

  start(): void {
    const { clock, everyMs, log } = this.#parts;
    this.#loop = (async () => {
      while (!this.#end.signal.aborted) {
        await clock.sleep(everyMs, this.#end.signal);
        if (this.#end.signal.aborted) return;
        // a spoke that hangs holds up nobody but itself
        for (const session of this.#parts.sessions())
          if (!this.#pulls.has(session.siteId))
            void this.pull(session).catch((thrown: unknown) =>
              log.debug('an audit log was not read', { spoke_id: session.siteId, error: messageOf(thrown) }),
            );
      }
    })();
  }

  async stop(): Promise<void> {
    this.#end.abort();
    await this.#loop;
    await Promise.allSettled(this.#pulls.values());
  }

  /** Reads what is new; one reading of a spoke at a time. @throws what the link throws; a log that does not fit is told by `fork` instead */
  pull(session: LinkSession): Promise<void> {
    const { siteId } = session;
    const before = this.#pulls.get(siteId);
    const now = (before?.catch(() => undefined) ?? Promise.resolve()).then(() => this.#read(session));
    this.#pulls.set(siteId, now);
    return now.finally(() => {
      if (this.#pulls.get(siteId) === now) this.#pulls.delete(siteId);
    });
  }

  async #read(session: LinkSession): Promise<void> {
    const { store, clock } = this.#parts;
    const { siteId: site } = session;
    for (;;) {
      const head: SiteAuditHead = (await store.siteAudit.head(site)) ?? {
        site,
        ...treeOf(emptyFrontier()),
        checkpoint: '',
        heardAt: 0,
        fault: '',
      };
      const { body, data } = await session.requestData(auditPull, { from: head.size, limit: AUDIT_PAGE });
      let taken: { readonly rows: readonly AuditRow[]; readonly tree: Frontier };
      try {
        taken = this.#held(head, body, Buffer.from(data ?? '[]'));
      } catch (thrown) {
        if (!(thrown instanceof CodedError) || thrown.code !== 'AUDIT_BROKEN') throw thrown;
        await this.#refused(head, thrown.message);
        return;
      }
      const { rows, tree } = taken;
      const next: SiteAuditHead = {
        site,
        ...treeOf(tree),
        checkpoint: body.checkpoint || head.checkpoint,
        heardAt: clock.now(),
        fault: '',
      };
      await store.transaction((tx) => tx.siteAudit.append(rows, next));
      if (rows.length === 0 || tree.size >= body.size) return;
    }
  }

  /** What of an answer may be stored. @throws CodedError AUDIT_BROKEN */
  #held(
    head: SiteAuditHead,
    { size, checkpoint }: { readonly size: number; readonly checkpoint: string },
    data: Buffer,
  ): { readonly rows: readonly AuditRow[]; readonly tree: Frontier } {
    const broken = (why: string) => new CodedError('AUDIT_BROKEN', why);
    let tree: Frontier = { size: head.size, roots: head.frontier };
    if (!isFrontier(tree)) throw broken('the copy has no good head');
    if (size < head.size) throw broken(`it has ${size} records, of which this hub has seen ${head.size}: it was cut`);
    const records: unknown = JSON.parse(data.toString('utf8'));
    if (!Array.isArray(records) || !records.every((record) => typeof record === 'string'))
      throw broken('the records are not those of a log');
    if (checkpoint === '') {
      if (records.length > 0) throw broken('nobody has signed these records');
      return { rows: [], tree };
    }
    const note = parseCheckpoint(checkpoint);
    const key = this.#parts.keyOf(head.site);
    if (note.fleetId !== this.#parts.fleetId || note.siteId !== head.site) throw broken('its checkpoint is of another site');
    if (key === undefined || !isSignedBy(note, key)) throw broken('its checkpoint is not signed by its server');
    const rows = records.map((record, index) => rowOf(record, head.size + index, head.site));
    for (const { record } of rows) tree = appendLeaf(tree, leafHash(Buffer.from(record, 'utf8')));
    if (note.size !== tree.size) throw broken(`its checkpoint is of ${note.size} records, its log of ${tree.size}`);
    if (Buffer.compare(note.root, frontierRoot(tree)) !== 0)
      throw broken(`the tree of ${tree.size} records that it signed is not the one that this hub knows: an earlier record was changed`);
    return { rows, tree };
  }

  /** The copy stays as it was: it is the proof. */
  async #refused(head: SiteAuditHead, why: string): Promise<void> {
    const { store, log, metrics, fork } = this.#parts;
    if (head.fault === why) return;
    await store.transaction((tx) => tx.siteAudit.append([], { ...head, fault: why }));
    metrics?.count('vigo_audit_verify_failures_total', 1);
    log.error('event', { event: 'audit.fork', spoke: head.site, error: why });
    fork(head.site, why);
  }
}

function treeOf({ size, roots }: Frontier): { readonly size: number; readonly frontier: readonly Uint8Array[] } {
  return { size, frontier: roots };
}
