/** A publisher over a real directory, a real SQLite store and real keys, for tests. */
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { systemClock } from '../../core/base/clock.ts';
import { createLogger, type Logger } from '../../core/base/log.ts';
import { DELEGATION_SCOPES, signDelegation } from '../../core/crypto/delegation.ts';
import { keyIdOf, type SigningKey, signingKeyFromSeed } from '../../core/crypto/ed25519.ts';
import { SYSTEM } from '../../server/audit/record.ts';
import { createTrail } from '../../server/audit/trail.ts';
import type { LiveRelease } from '../../server/publish/live-release.ts';
import type { ReleaseAuthority } from '../../server/publish/manifest-signature.ts';
import { Publisher } from '../../server/publish/publisher.ts';
import type { PublisherParts } from '../../server/publish/publisher-parts.ts';
import type { SecretProvider } from '../../server/secrets/provider.ts';
import { openDatabase } from '../../server/store/database.ts';
import type { Store } from '../../server/store/store.ts';

const FLEET = '01980000-0000-7000-8000-000000000001';

/** Keys that two processes of one test share. */
export function testAuthority(root: SigningKey = signingKeyFromSeed(Buffer.alloc(32, 1))): ReleaseAuthority {
  const serverKey = signingKeyFromSeed(Buffer.alloc(32, 2));
  const delegation = signDelegation(root, {
    fleet_id: FLEET,
    site_id: 'main',
    server_id: FLEET,
    public_key: Buffer.from(serverKey.publicKey).toString('base64'),
    scopes: [...DELEGATION_SCOPES],
    epoch: 1,
    may_promote: true,
    not_before: 0,
    not_after: 4_000_000_000_000,
    serial: FLEET,
  });
  return { fleetId: FLEET, epoch: 1, rootPublicKey: root.publicKey, serverKey, keyId: keyIdOf(serverKey.publicKey), delegation };
}

/** Secrets in memory; the version is part of what is kept. */
export class MemorySecrets implements SecretProvider {
  readonly name = 'memory';
  readonly values = new Map<string, { value: Uint8Array; version: string }>();
  async check(): Promise<void> {}
  async exists(path: string): Promise<{ version: string } | null> {
    return this.values.get(path) ?? null;
  }
  async get(path: string): Promise<{ value: Uint8Array; version: string } | null> {
    return this.values.get(path) ?? null;
  }
}

export interface Publishing {
  readonly directory: string;
  readonly store: Store;
  readonly publisher: Publisher;
  readonly secrets: MemorySecrets;
  readonly released: LiveRelease[];
  readonly events: string[];
  stop(): Promise<void>;
}

const quiet: Logger = createLogger({ level: 'error', format: 'json', write: () => undefined });

export function dataDirectory(): string {
  return mkdtempSync(join(tmpdir(), 'vigo-publish-'));
}

export function writeStage(directory: string, files: Readonly<Record<string, string>>): void {
  rmSync(join(directory, 'stacks'), { recursive: true, force: true });
  mkdirSync(join(directory, 'stacks'));
  for (const [path, text] of Object.entries(files)) {
    const target = join(directory, 'stacks', path);
    mkdirSync(dirname(target), { recursive: true });
    writeFileSync(target, text);
  }
}

export async function openPublishing(
  directory: string,
  more: Partial<PublisherParts> & { readonly hosts?: readonly string[] } = {},
): Promise<Publishing> {
  mkdirSync(join(directory, 'db'), { recursive: true });
  const store = await openDatabase({ driver: 'sqlite', path: join(directory, 'db', 'vigo.db'), busyTimeoutMs: 2000, create: true }, 1);
  const secrets = new MemorySecrets();
  const released: LiveRelease[] = [];
  const events: string[] = [];
  const publisher = new Publisher({
    paths: {
      root: directory,
      stage: join(directory, 'stacks'),
      releases: join(directory, 'releases'),
      live: join(directory, 'live'),
      temp: join(directory, 'tmp'),
    },
    authority: testAuthority(),
    store,
    trail: createTrail({ clock: systemClock, site: 'main', epoch: () => 1 }),
    secrets,
    clock: systemClock,
    log: quiet,
    hostnames: () => more.hosts ?? ['web1', 'web2', 'db1'],
    onRelease: async (release) => {
      released.push(release);
    },
    event: (name) => events.push(name),
    ...more,
  });
  return {
    directory,
    store,
    publisher,
    secrets,
    released,
    events,
    async stop() {
      await publisher.stop();
      await store.close();
    },
  };
}

export const BY_ALICE = { author: 'alice', actor: { ...SYSTEM, kind: 'user' as const, id: 'u1', name: 'alice' } };

/** Makes a read-only release writable, as a tamperer with root's rights would. */
export function forceWritable(directory: string): void {
  chmodSync(directory, 0o750);
  for (const name of readdirSync(directory)) {
    const path = join(directory, name);
    if (statSync(path).isDirectory()) forceWritable(path);
    else chmodSync(path, 0o640);
  }
}
