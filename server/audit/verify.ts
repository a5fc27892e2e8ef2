/** Verifies the audit log (server.md §12.5): every record, every checkpoint, and what the witnesses hold. */
import { readFile } from 'node:fs/promises';
import { CodedError, messageOf } from '../../core/base/errors.ts';
import { isPlainObject } from '../../core/base/json.ts';
import { appendLeaf, emptyFrontier, type Frontier, frontierRoot, isFrontier, leafHash } from '../../core/crypto/merkle-log.ts';
import type { AuditRow, CheckpointRow, Tables } from '../store/store.ts';
import { isSignedBy, parseCheckpoint, type SignedCheckpoint } from './note.ts';

export interface AuditFinding {
  readonly kind: 'modified' | 'inserted' | 'deleted' | 'truncated' | 'forked' | 'unsigned' | 'witness_ahead' | 'clock';
  /** record, or tree size of a checkpoint */
  readonly seq: number;
  readonly message: string;
}

export interface VerifyParts {
  readonly store: Pick<Tables, 'audit' | 'checkpoints'>;
  readonly fleetId: string;
  /** the same log, before this server came to the fleet */
  readonly former?: { readonly fleetId: string; readonly siteId: string } | undefined;
  readonly siteId: string;
  /** the raw public key of this id at that time, when its delegation allows audit */
  readonly keyOf: (keyId: string, time: number) => Uint8Array | undefined;
  /** notes that others hold, by who holds them */
  readonly witnesses?: readonly { readonly name: string; readonly notes: readonly string[] }[] | undefined;
}

const MAX_BACKWARDS_MS = 5 * 60_000;
const PAGE = 1000;
/** how many of the newest records a start looks at */
export const START_UP_LEAVES = 10_000;

/** The notes in a file that `file:` appended to. */
export async function readWitnessFile(path: string): Promise<readonly string[]> {
  const text = await readFile(path, 'utf8');
  return text.split(/\n\n(?=vigo\/)/).map((note) => `${note.trimEnd()}\n`);
}

/** What the columns repeat of the record must be what the record says. */
function rowFinding(row: AuditRow): AuditFinding | undefined {
  const modified = (message: string): AuditFinding => ({ kind: 'modified', seq: row.seq, message });
  try {
    const record: unknown = JSON.parse(row.record);
    if (!isPlainObject(record)) return modified('the record is no object');
    const actor = isPlainObject(record['actor']) ? record['actor']['name'] : undefined;
    const target = isPlainObject(record['target']) ? record['target']['id'] : '';
    const said = [record['seq'], Date.parse(String(record['time'])), record['event']];
    if (said[0] !== row.seq || said[1] !== row.time || said[2] !== row.event) return modified('the columns differ from the record');
    // names are cut in the record, so a prefix is enough
    if (!prefixOf(actor, row.actor) || !prefixOf(target, row.target)) return modified('actor or target differ from the record');
    return undefined;
  } catch (thrown) {
    return modified(`the record is not JSON: ${messageOf(thrown)}`);
  }
}

function prefixOf(recorded: unknown, column: string): boolean {
  const text = String(recorded ?? '');
  return text === column || (text.endsWith('…(cut)') && column.toWellFormed().startsWith(text.slice(0, -6)));
}

interface Held {
  readonly checkpoint: SignedCheckpoint;
  /** undefined: our own table */
  readonly witness: string | undefined;
}

function heldCheckpoints(parts: VerifyParts, own: readonly CheckpointRow[], findings: AuditFinding[]): Held[] {
  const held: Held[] = [];
  const take = (note: string, witness: string | undefined, size: number) => {
    const of = witness === undefined ? 'the checkpoint' : `a checkpoint of ${witness}`;
    try {
      const checkpoint = parseCheckpoint(note);
      const key = parts.keyOf(checkpoint.keyId, checkpoint.time);
      const isOf = (where: { readonly fleetId: string; readonly siteId: string } | undefined) =>
        checkpoint.fleetId === where?.fleetId && checkpoint.siteId === where.siteId;
      if (!isOf(parts) && !isOf(parts.former))
        findings.push({ kind: 'forked', seq: checkpoint.size, message: `${of} is of another fleet or site` });
      else if (key === undefined || !isSignedBy(checkpoint, key))
        findings.push({ kind: 'unsigned', seq: checkpoint.size, message: `${of} has no valid signature` });
      else if (witness === undefined && checkpoint.size !== size)
        findings.push({ kind: 'modified', seq: size, message: `${of} stored for size ${size} says ${checkpoint.size}` });
      else held.push({ checkpoint, witness });
    } catch (thrown) {
      findings.push({ kind: 'unsigned', seq: size, message: `${of} does not read: ${messageOf(thrown)}` });
    }
  };
  for (const row of own) take(row.note, undefined, row.size);
  for (const witness of parts.witnesses ?? []) for (const note of witness.notes) take(note, witness.name, 0);
  return held;
}

/** Where a check of the newest records begins: behind a checkpoint of ours whose signed root is that of the tree kept with it. */
async function startBelow(parts: VerifyParts, size: number, findings: AuditFinding[]): Promise<Frontier> {
  const row = size <= 0 ? undefined : await parts.store.checkpoints.newest(size);
  if (row === undefined) return emptyFrontier();
  const tree = { size: row.size, roots: row.frontier };
  const held = heldCheckpoints(parts, [row], findings)[0];
  if (held !== undefined && isFrontier(tree) && Buffer.compare(frontierRoot(tree), held.checkpoint.root) === 0) return tree;
  findings.push({
    kind: 'modified',
    seq: row.size,
    message: `the tree kept with the checkpoint of ${row.size} records is not the signed one`,
  });
  return emptyFrontier();
}

/**
 * Reads the log once, all of it or the newest records. Findings are in order of sequence; an empty list means that everything holds. A changed,
 * removed or added record shows as a root that differs from the first checkpoint behind it.
 */
export async function verifyAudit(parts: VerifyParts, newest = Number.MAX_SAFE_INTEGER): Promise<readonly AuditFinding[]> {
  const findings: AuditFinding[] = [];
  const head = await parts.store.audit.head();
  let tree = await startBelow(parts, head.size - newest, findings);
  const own: CheckpointRow[] = [];
  for (let from = tree.size + 1; ; from = own.at(-1)!.size + 1) {
    const page = await parts.store.checkpoints.list(from, PAGE);
    own.push(...page);
    if (page.length < PAGE) break;
  }
  const held = heldCheckpoints(parts, own, findings);
  const wanted = Map.groupBy(held, ({ checkpoint }) => checkpoint.size);
  let before = 0;
  let broken = false;
  for await (const row of parts.store.audit.read(tree.size)) {
    if (row.seq !== tree.size && !broken) {
      findings.push({ kind: 'deleted', seq: tree.size, message: `record ${tree.size} is missing` });
      broken = true;
    }
    const wrong = rowFinding(row);
    if (wrong !== undefined) findings.push(wrong);
    if (row.time < before - MAX_BACKWARDS_MS && row.event !== 'clock')
      findings.push({ kind: 'clock', seq: row.seq, message: 'time went back by more than 5 minutes without a clock record' });
    before = Math.max(before, row.time);
    if (row.seq >= head.size)
      findings.push({ kind: 'inserted', seq: row.seq, message: `record ${row.seq} lies behind the end of the log` });
    tree = appendLeaf(tree, leafHash(Buffer.from(row.record, 'utf8')));
    if (!broken) compare(wanted.get(tree.size) ?? [], tree, findings);
  }
  finish(held, head.size, tree, { size: head.size, roots: head.frontier }, broken, findings);
  return findings.sort((a, b) => a.seq - b.seq);
}

function compare(held: readonly Held[], tree: Frontier, findings: AuditFinding[]): void {
  const root = frontierRoot(tree);
  for (const { checkpoint, witness } of held) {
    if (Buffer.compare(root, checkpoint.root) === 0) continue;
    findings.push({
      kind: witness === undefined ? 'modified' : 'forked',
      seq: tree.size,
      message: `the tree of ${tree.size} records is not the one that ${witness ?? 'its checkpoint'} signed: a record before it was changed, added or removed`,
    });
  }
}

function finish(held: readonly Held[], size: number, tree: Frontier, head: Frontier, broken: boolean, findings: AuditFinding[]): void {
  if (tree.size < size) findings.push({ kind: 'truncated', seq: tree.size, message: `${size - tree.size} records at the end are missing` });
  else if (!broken && (!isFrontier(head) || Buffer.compare(frontierRoot(tree), frontierRoot(head)) !== 0))
    findings.push({ kind: 'modified', seq: tree.size, message: 'the records do not make the tree that the head names' });
  for (const { checkpoint, witness } of held) {
    if (checkpoint.size <= tree.size) continue;
    findings.push(
      witness === undefined
        ? { kind: 'truncated', seq: tree.size, message: `a checkpoint names ${checkpoint.size} records, there are ${tree.size}` }
        : {
            kind: 'witness_ahead',
            seq: tree.size,
            message: `${witness} holds a checkpoint of ${checkpoint.size} records, there are ${tree.size}`,
          },
    );
  }
}

/** The check of a start: the newest records and everything that was signed about them. @throws CodedError AUDIT_BROKEN */
export async function verifyNewest(parts: VerifyParts, leaves = START_UP_LEAVES): Promise<void> {
  const findings = await verifyAudit(parts, leaves);
  const first = findings[0];
  if (first === undefined) return;
  throw new CodedError('AUDIT_BROKEN', `audit record ${first.seq}: ${first.message}`, {
    hint: 'vigocli audit verify shows all findings',
    details: { findings: findings.slice(0, 20) },
  });
}
