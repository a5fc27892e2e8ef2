/** The checks behind `doctor` and `/readyz`. */
import { statfs } from 'node:fs/promises';
import type { z } from 'zod';
import type { doctorCheckSchema } from '../../core/api/server.ts';
import { formatDuration } from '../../core/base/duration.ts';
import { messageOf } from '../../core/base/errors.ts';
import { validityOf } from '../../core/crypto/certificate.ts';
import type { Delegation } from '../../core/crypto/delegation.ts';
import type { ServerParts } from '../parts.ts';

export type Check = z.output<typeof doctorCheckSchema>;

const DAY_MS = 86_400_000;
const LOW_DISK = 0.05;
const MANY_DIRTY = 50_000;

type Examiner = (parts: ServerParts) => Promise<Omit<Check, 'name'>> | Omit<Check, 'name'>;

const EXAMINERS: Readonly<Record<string, Examiner>> = {
  'audit log': ({ trail }) =>
    trail.blockedBy === undefined
      ? { status: 'ok', message: 'accepts records' }
      : {
          status: 'fail',
          message: `does not verify: ${trail.blockedBy}`,
          hint: 'vigocli audit verify shows all findings; changes are refused until then',
        },
  certificate: ({ tls, clock }) => {
    const left = validityOf(tls().certificateChain).notAfter - clock.now();
    if (left <= 0) return { status: 'fail', message: 'the server certificate has expired', hint: 'restart the server: it renews at start' };
    const message = `the server certificate is good for ${formatDuration(left)}`;
    return left < 3 * DAY_MS ? { status: 'warn', message, hint: 'restart the server: it renews at start' } : { status: 'ok', message };
  },
  clock: ({ clock, startedAt }) =>
    clock.now() < startedAt
      ? { status: 'fail', message: 'the clock went back behind the start of the server', hint: 'synchronise the clock' }
      : { status: 'ok', message: 'has not gone back since the start' },
  database: async ({ store }) => {
    const records = await store.audit.count();
    const bytes = await store.sizeBytes();
    return { status: 'ok', message: `answers: ${Math.round(bytes / 1024 / 1024)} MiB, ${records} audit records` };
  },
  delegation: ({ identity, clock }) => {
    const { not_after: until } = JSON.parse(identity.delegation.record) as Delegation;
    const left = until - clock.now();
    const hint =
      identity.hubSite === undefined
        ? 'bring keys/root.key back and restart, or use vigosrv sign-delegation'
        : 'it renews over the link to the hub, whose root key must be at hand: vigocli spanner status';
    if (left <= 0) return { status: 'fail', message: 'the delegation of the server key has run out: envoys refuse its policy', hint };
    const message = `the delegation of the server key is good for ${formatDuration(left)}`;
    return left < 25 * DAY_MS ? { status: 'warn', message, hint } : { status: 'ok', message };
  },
  disk: async ({ paths }) => {
    const { bavail, blocks, bsize } = await statfs(paths.root);
    const share = blocks === 0 ? 1 : bavail / blocks;
    const message = `${Math.floor((bavail * bsize) / 1024 / 1024)} MiB free (${Math.floor(share * 100)} %)`;
    return share < LOW_DISK
      ? { status: 'warn', message, hint: 'less than 5 % free: the database stops taking reports when it is full' }
      : { status: 'ok', message };
  },
  'fleet index': ({ fleet }) => {
    const dirty = fleet.dirtyCount;
    const message = `${fleet.size} envoys, ${dirty} wait to be saved`;
    return dirty > MANY_DIRTY ? { status: 'warn', message, hint: 'the database is slower than the fleet' } : { status: 'ok', message };
  },
  release: ({ releases }) =>
    releases.live === undefined
      ? { status: 'warn', message: 'no release is live: envoys are told to wait', hint: 'vigocli config publish' }
      : {
          status: 'ok',
          message: `release ${releases.live.number} (${releases.live.version}) is live with ${releases.live.entries.size} entries`,
        },
  'root key': ({ identity }) => ({ status: 'ok', message: `root CA pin ${identity.rootPin}` }),
  secrets: async ({ secrets }) => {
    await secrets.check();
    return { status: 'ok', message: `provider ${secrets.name} answers` };
  },
};

/** The checks and the worst of them. */
export function doctorReply(checks: readonly Check[]): { status: Check['status']; checks: Check[] } {
  const worst = (['fail', 'warn'] as const).find((status) => checks.some((check) => check.status === status));
  return { status: worst ?? 'ok', checks: [...checks] };
}

/** Every check, failing ones included. */
export async function examine(parts: ServerParts): Promise<readonly Check[]> {
  return await Promise.all(
    Object.entries(EXAMINERS).map(async ([name, check]): Promise<Check> => {
      try {
        return { name, ...(await check(parts)) };
      } catch (error) {
        return { name, status: 'fail', message: messageOf(error) };
      }
    }),
  );
}

/** Why the server cannot serve envoys; empty: it can. */
export function notReady({ releases, trail }: Pick<ServerParts, 'releases' | 'trail'>): readonly string[] {
  const reasons: string[] = [];
  if (releases.live === undefined) reasons.push('no release is live');
  if (trail.blockedBy !== undefined) reasons.push('the audit log does not verify');
  return reasons;
}
