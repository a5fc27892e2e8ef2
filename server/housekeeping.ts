/** What a server does for itself once an hour: forgets what is past its retention, renews its certificate, and once a day verifies the audit log. */
import { messageOf } from '../core/base/errors.ts';
import { scopeOfCheck } from './audit/acknowledge.ts';
import { verifyAudit } from './audit/verify.ts';
import { heardWitnesses, witnessFiles } from './audit/witnesses.ts';
import type { ServerParts } from './parts.ts';

const HOUR_MS = 3_600_000;
const HOURS_A_DAY = 24;
/** Spent and expired tokens stay for the audit of a month. */
const TOKEN_KEEP_MS = 30 * HOURS_A_DAY * HOUR_MS;
const SUMMARY_KEEP_MS = 400 * HOURS_A_DAY * HOUR_MS;

async function forget({ store, settings, clock, log }: ServerParts): Promise<void> {
  const now = clock.now();
  const runs = await store.runs.retain(now - settings.database.retention.runs, now - SUMMARY_KEEP_MS);
  const tokens = await store.tokens.prune(now - TOKEN_KEEP_MS);
  const permits = await store.permits.prune(now - TOKEN_KEEP_MS);
  const moves = await store.moves.prune(now - SUMMARY_KEEP_MS);
  if (runs + tokens + permits + moves > 0) log.info('rows past their retention were removed', { runs, tokens, permits, moves });
}

/** A break stops further changes until an admin has looked. */
async function verifyDaily({ store, identity, trail, metrics, log, settings, paths }: ServerParts): Promise<void> {
  const keyOf = (keyId: string) => (keyId === identity.keyId ? identity.serverKey.publicKey : undefined);
  const { newest, hearsWitnesses } = await scopeOfCheck(store);
  const witnesses = hearsWitnesses ? await heardWitnesses(witnessFiles(settings.audit.witnesses, paths.root)) : [];
  const findings = await verifyAudit(
    { store, fleetId: identity.fleetId, siteId: identity.siteId, former: identity.succession, keyOf, witnesses },
    newest,
  );
  const [first] = findings;
  if (first === undefined) return;
  metrics.count('vigo_audit_verify_failures_total', findings.length);
  trail.block(`record ${first.seq}: ${first.message}`);
  log.error('the audit log does not verify', { code: 'AUDIT_BROKEN', findings: findings.length, first: first.message, seq: first.seq });
}

/** @returns a stop that waits for what runs */
export function keepHouse(parts: ServerParts, renewCertificate: () => Promise<void>): () => Promise<void> {
  let hours = 0;
  let running: Promise<void> = Promise.resolve();
  const tasks: readonly [string, () => Promise<void>][] = [
    ['retention', () => forget(parts)],
    ['certificate', renewCertificate],
    ['audit', () => (hours % HOURS_A_DAY === 0 ? verifyDaily(parts) : Promise.resolve())],
  ];
  const once = async () => {
    hours += 1;
    for (const [name, task] of tasks)
      await task().catch((thrown: unknown) => parts.log.error('housekeeping failed', { task: name, error: messageOf(thrown) }));
  };
  const timer = setInterval(() => {
    running = once();
  }, HOUR_MS);
  timer.unref();
  return async () => {
    clearInterval(timer);
    await running;
  };
}
