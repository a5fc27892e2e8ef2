/** The agent's real link against the real accepting threads: certificates, signatures, sequence, bundles and heads. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { type AgentIdentity, enrollKeys } from '../../agent/enroll/identity.ts';
import { GrpcLink } from '../../agent/link/grpc-link.ts';
import { Sequence } from '../../agent/link/sequence.ts';
import type { CheckIn } from '../../agent/link/server-link.ts';
import { TrustStore } from '../../agent/link/trust.ts';
import { takeReply } from '../../agent/policy-intake.ts';
import { openStateStore } from '../../agent/state/lmdb-state-store.ts';
import type { EnrollRequest } from '../../core/api/enroll.ts';
import { systemClock } from '../../core/base/clock.ts';
import { canonicalBytes } from '../../core/base/json.ts';
import { createLogger } from '../../core/base/log.ts';
import { Redactor } from '../../core/base/redaction.ts';
import { signFor } from '../../core/crypto/domain.ts';
import { sha256Hex, ZERO_HASH } from '../../core/policy/bundle.ts';
import { deltaOf } from '../../core/traits/delta.ts';
import { initSite } from '../../server/init.ts';
import type { LoadedRelease } from '../../server/release-switch.ts';
import { type RunningServer, startServer } from '../../server/server.ts';
import { readSettings } from '../../server/settings.ts';

const log = createLogger({ level: 'error', format: 'json' });
const dir = mkdtempSync(join(tmpdir(), 'vigo-check-in-'));
let server: RunningServer;

function release(number: number, note: string): LoadedRelease {
  const body = canonicalBytes({
    schema: 1,
    release: number,
    version: 'v',
    match: '*',
    entry: 'e#0',
    environment: null,
    roles: [],
    secrets_epoch: 0,
    secret_refs: [],
    module_count: 0,
    resource_count: 0,
    vars: { note },
    vars_when: [],
    modules: [],
    templates: {},
    devices: [],
  });
  const entry = {
    entry: 'e#0',
    body,
    bodySha256: sha256Hex(body),
    policyHash: sha256Hex(note),
    secretsEpoch: 0,
    observe: false,
    moduleCount: 0,
    secretRefs: [],
  };
  return {
    number,
    version: 'v',
    root: sha256Hex(`${number}`),
    entries: new Map([['e#0', entry]]),
    entryIdFor: (hostname) => (hostname.startsWith('web') ? 'e#0' : undefined),
    environmentOf: () => null,
  };
}

async function enroll(hostname: string, name: string) {
  const configDir = join(dir, name);
  const keys = await enrollKeys(configDir);
  const { token } = await server.parts.tokens.create({ pattern: hostname, ttlMs: 60_000 }, { kind: 'system', id: 'test', name: 'test' });
  const unsigned = {
    token,
    hostname,
    csr: keys.csr,
    identity_key: Buffer.from(keys.signingKey.publicKey).toString('base64'),
    sealing_key: Buffer.from(keys.sealingKey.publicKey).toString('base64'),
    platform: 'linux/x64',
    agent_version: '0',
    timestamp_ms: Date.now(),
  };
  const request: EnrollRequest = { ...unsigned, proof: signFor('enroll', keys.signingKey, canonicalBytes(unsigned)).toString('base64') };
  const result = await server.parts.enrollment.enroll(request, '127.0.0.1');
  if (result.status !== 'enrolled') throw new Error('not enrolled');
  const { reply } = result;
  const { readKeyFile } = await import('../../core/crypto/key-file.ts');
  const identity: AgentIdentity = {
    envoyId: reply.envoy_id,
    fleetId: reply.fleet_id,
    siteId: reply.site_id,
    hostname,
    signingKey: keys.signingKey,
    sealingKeys: [keys.sealingKey],
    rootPublicKey: Buffer.from(reply.root_public_key, 'base64'),
    caBundle: reply.ca_bundle,
    tls: { certificateChain: reply.certificate, privateKey: readKeyFile(join(configDir, 'tls.key')) },
  };
  const state = openStateStore(join(dir, `${name}-state`));
  const trust = new TrustStore({ rootPublicKey: identity.rootPublicKey, fleetId: identity.fleetId, facts: state.facts });
  const sequence = new Sequence(state.facts, Date.now());
  const link = new GrpcLink({
    identity,
    trust,
    sequence,
    clock: systemClock,
    version: '0',
    servers: () => [`localhost:${server.rpcPort}`],
    apiAddr: 'https://localhost:1',
  });
  return { identity, state, trust, sequence, link, request };
}

type Envoy = Awaited<ReturnType<typeof enroll>>;

async function checkIn(envoy: Envoy) {
  const held = envoy.state.policy.held();
  const traits = { os: { family: 'debian' } };
  const message: CheckIn = {
    release: held?.header.release ?? 0,
    bodySchema: 1,
    policyHash: held?.header.policy_hash ?? '',
    heldHeaderHash: held?.headerHash ?? '',
    heldSeq: held?.header.seq ?? 0,
    highestEpoch: held?.header.epoch ?? 0,
    ownerEpoch: 1,
    secretsEpoch: held?.body?.body.secrets_epoch ?? 0,
    traits: deltaOf(undefined, traits),
    pendingResults: 0,
    mode: 'enforce',
    flags: [],
    authorityHash: sha256Hex(envoy.state.facts.get('authority') ?? ''),
    renew: false,
    bundleRejected: '',
  };
  const reply = await envoy.link.checkIn(message, AbortSignal.timeout(5_000));
  await takeReply(reply, envoy.link.clockOffsetMs, {
    identity: envoy.identity,
    trust: envoy.trust,
    state: envoy.state,
    clock: systemClock,
    log,
  });
  return reply.kind;
}

beforeAll(async () => {
  const dataDir = join(dir, 'server');
  await initSite({
    dataDir,
    hostname: 'localhost',
    admin: 'admin',
    offlineRoot: undefined,
    forceEmpty: false,
    exampleTree: undefined,
    settings: { server: { grpc_listen: '127.0.0.1:0', api_listen: '127.0.0.1:0' }, enrollment: { token_bcrypt_cost: 10 } },
    clock: systemClock,
  });
  const { readFileSync } = await import('node:fs');
  const parsed = readSettings(readFileSync(join(dataDir, 'server.yaml'), 'utf8'), { file: 'server.yaml', hostname: 'localhost' });
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.problems));
  server = await startServer({
    dataDir,
    settings: parsed.settings,
    clock: systemClock,
    log,
    redactor: new Redactor(),
    version: '0',
    fatal: (error) => {
      throw error;
    },
  });
});
afterAll(async () => {
  await server?.stop();
  rmSync(dir, { recursive: true, force: true });
});

describe('check-in', () => {
  test('waits without a release, then bundle, no_change, renew after an untouched publish, bundle after a change', async () => {
    const envoy = await enroll('web1.example.com', 'web1');
    expect(await checkIn(envoy)).toBe('wait');
    await server.parts.releases.use(release(1, 'a'));
    expect(await checkIn(envoy)).toBe('bundle');
    expect(envoy.state.policy.held()?.body?.body.vars).toEqual({ note: 'a' });
    expect(await checkIn(envoy)).toBe('no_change');
    expect(envoy.state.facts.get('provenAt')).toBeGreaterThan(0);
    await server.parts.releases.use(release(2, 'a'));
    expect(await checkIn(envoy)).toBe('renew');
    expect(await checkIn(envoy)).toBe('no_change');
    await server.parts.releases.use(release(3, 'b'));
    expect(await checkIn(envoy)).toBe('bundle');
    expect(envoy.state.policy.held()?.body?.body.vars).toEqual({ note: 'b' });
    envoy.link.close();
    await envoy.state.close();
  });

  test('says no_policy to a host that no entry matches', async () => {
    const envoy = await enroll('db1.example.com', 'db1');
    expect(await checkIn(envoy)).toBe('no_policy');
    expect(envoy.state.policy.held()?.body).toBeUndefined();
    expect(ZERO_HASH).toHaveLength(64);
    envoy.link.close();
    await envoy.state.close();
  });
});
