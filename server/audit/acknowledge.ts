/** An admin has looked at a log that does not verify: changes go on, and the next start begins its check behind this point. */
import type { ServerParts } from '../parts.ts';
import type { Actor } from './record.ts';
import type { AuditFinding } from './verify.ts';

/** Persisted size of the log at the newest acknowledgement. */
const ACKNOWLEDGED = 'audit_acknowledged';

export async function acknowledgeBreak(
  parts: Pick<ServerParts, 'store' | 'trail' | 'checkpointer'>,
  actor: Actor,
  findings: readonly AuditFinding[],
): Promise<void> {
  const shown = findings.slice(0, 20).map(({ kind, seq, message }) => ({ kind, seq, message }));
  await parts.store.transaction(async (tx) => {
    await parts.trail.record(tx, { actor, event: 'audit.acknowledged', outcome: 'ok', data: { findings: findings.length, first: shown } });
    await tx.counters.raise(ACKNOWLEDGED, (await tx.audit.head()).size);
  });
  parts.trail.unblock();
  await parts.checkpointer.make();
}

/**
 * What a check by itself looks at: all of the log, or what came behind an acknowledged break. What witnesses keep of the time before would show that break again,
 * so they are heard only where nothing was acknowledged; `vigocli audit verify` always hears them.
 */
export async function scopeOfCheck(
  store: Pick<ServerParts['store'], 'audit' | 'counters'>,
): Promise<{ readonly newest: number; readonly hearsWitnesses: boolean }> {
  const acknowledged = await store.counters.get(ACKNOWLEDGED);
  return { newest: Math.max(0, (await store.audit.head()).size - acknowledged), hearsWitnesses: acknowledged === 0 };
}
