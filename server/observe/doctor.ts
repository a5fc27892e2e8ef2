/** What `vigocli doctor` asks of a running server: a line each, with a hint where something is to be done. */
import { statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { formatDuration } from '../../core/base/duration.ts';
import { messageOf } from '../../core/base/errors.ts';
import { validityOf } from '../../core/crypto/certificate.ts';
import { assertPrivate } from '../../core/crypto/key-file.ts';
import type { ServerParts } from '../parts.ts';

export interface DoctorCheck {
  readonly name: string;
  readonly status: 'ok' | 'warn' | 'fail';
  readonly message: string;
  readonly hint?: string;
}

type Check = (parts: ServerParts) => Promise<DoctorCheck | readonly DoctorCheck[]> | DoctorCheck | readonly DoctorCheck[];
const DAY_MS = 86_400_000;

/** Sorted as they are shown. */
const CHECKS: Readonly<Record<string, Check>> = {
  keys({ paths }) {
    for (const file of [join(paths.keys, 'server.key'), join(paths.tls, 'site-ca.key'), join(paths.tls, 'server.key'), paths.masterKey])
      assertPrivate(file);
    return { name: 'keys', status: 'ok', message: 'private keys can be read by their owner alone' };
  },
  pin: ({ identity }) => ({ name: 'pin', status: 'ok', message: `root CA pin ${identity.rootPin}` }),
  certificate({ identity, clock }) {
    const left = validityOf(identity.tls.certificateChain).notAfter - clock.now();
    const message = `server certificate ends in ${formatDuration(left)}`;
    return left > 5 * DAY_MS
      ? { name: 'certificate', status: 'ok', message }
      : { name: 'certificate', status: left > 0 ? 'warn' : 'fail', message, hint: 'restart the server: it renews at start' };
  },
  delegation({ identity, clock }) {
    const left = (JSON.parse(identity.delegation.record) as { not_after: number }).not_after - clock.now();
    const message = `delegation of the server key ends in ${formatDuration(left)}`;
    return left > 14 * DAY_MS
      ? { name: 'delegation', status: 'ok', message }
      : { name: 'delegation', status: left > 0 ? 'warn' : 'fail', message, hint: 'with an offline root: vigosrv sign-delegation' };
  },
  async disk({ paths }) {
    const { bavail, bsize, blocks } = await statfs(paths.root);
    const share = Math.round((bavail / blocks) * 100);
    const message = `${Math.round((bavail * bsize) / 1024 ** 2)} MiB free (${share} %) at ${paths.root}`;
    if (share >= 10) return { name: 'disk', status: 'ok', message };
    return {
      name: 'disk',
      status: share >= 3 ? 'warn' : 'fail',
      message,
      hint: 'free space: a full disk stops reports, enrolment and publishing',
    };
  },
  async database({ store }) {
    const size = await store.sizeBytes();
    return { name: 'database', status: 'ok', message: `answers, ${Math.round(size / 1024)} KiB` };
  },
  async audit({ store, trail }) {
    if (trail.blockedBy !== undefined)
      return { name: 'audit', status: 'fail', message: `the log does not verify: ${trail.blockedBy}`, hint: 'vigocli audit verify' };
    return { name: 'audit', status: 'ok', message: `${await store.audit.count()} records` };
  },
  async secrets({ secrets }) {
    await secrets.check();
    return { name: 'secrets', status: 'ok', message: `provider ${secrets.name} answers` };
  },
  release: ({ releases }) =>
    releases.live === undefined
      ? { name: 'release', status: 'warn', message: 'no live release: envoys wait', hint: 'vigocli config publish' }
      : { name: 'release', status: 'ok', message: `release ${releases.live.number} is live` },
  queue({ fleet }) {
    const dirty = fleet.dirtyCount;
    return dirty < 50_000
      ? { name: 'queue', status: 'ok', message: `${dirty} envoys wait to be stored` }
      : { name: 'queue', status: 'warn', message: `${dirty} envoys wait to be stored`, hint: 'the database is slower than the fleet' };
  },
};

/** Every check answers: one that throws is a failing one. */
export async function diagnose(parts: ServerParts): Promise<readonly DoctorCheck[]> {
  const answers = await Promise.all(
    Object.entries(CHECKS).map(async ([name, check]) => {
      try {
        return await check(parts);
      } catch (thrown) {
        return { name, status: 'fail', message: messageOf(thrown) } as const;
      }
    }),
  );
  return answers.flat();
}
