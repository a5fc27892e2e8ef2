/** What an agent does with answers that no honest server gives: each is refused with its machine reason, and the held policy stays. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { checkIn } from '../../../agent/check-in.ts';
import { statusFacts } from '../../../agent/commands/status-facts.ts';
import type { AgentIdentity } from '../../../agent/enroll/identity.ts';
import type { Authority, CheckIn, CheckInReply, Hints, ServerLink } from '../../../agent/link/server-link.ts';
import { TrustStore } from '../../../agent/link/trust.ts';
import { takeReply } from '../../../agent/policy-intake.ts';
import { readSettings } from '../../../agent/settings.ts';
import { openStateStore } from '../../../agent/state/lmdb-state-store.ts';
import type { StateStore } from '../../../agent/state/state-store.ts';
import { LocalSystem } from '../../../agent/system/local-system.ts';
import type { Clock } from '../../../core/base/clock.ts';
import { canonicalBytes, canonicalJson } from '../../../core/base/json.ts';
import { DELEGATION_SCOPES, type Delegation, signDelegation, signRevocation } from '../../../core/crypto/delegation.ts';
import { signFor } from '../../../core/crypto/domain.ts';
import { keyIdOf, newSigningKey, type SigningKey } from '../../../core/crypto/ed25519.ts';
import { newSealingKey } from '../../../core/crypto/hpke.ts';
import { type BundleHeader, type SignedBytes, sha256Hex, signHead, signHeader, ZERO_HASH } from '../../../core/policy/bundle.ts';
import { quietLog } from '../../fakes/quiet-log.ts';

const FLEET = '01980000-0000-7000-8000-000000000001';
const ENVOY = '01980000-0000-7000-8000-000000000002';
const OTHER = '01980000-0000-7000-8000-000000000003';
const DAY = 86_400_000;
const folder = mkdtempSync(join(tmpdir(), 'vigo-intake-'));
const root = newSigningKey();
const serverKey = newSigningKey();
const KEY = keyIdOf(serverKey.publicKey);
const hints: Hints = { nextMs: 60_000, keepConnection: false, fullTraits: false, serverTimeMs: 0, jitterPct: 0 };
const authority: Authority = {
  observe: false,
  secrets_epoch: 0,
  servers: [],
  fallback_servers: [],
  offline_policy: 'continue',
  queue_max_runs: 10,
  queue_max_size: 1_000_000,
  bundle_max_age_s: 86_400,
  revoked: [],
};

let now = Date.parse('2026-03-01T12:00:00Z');
const clock: Clock = { now: () => now, monotonic: () => 0, sleep: () => Promise.resolve() };
let stores = 0;
let state: StateStore;
let trust: TrustStore;
let stateDir = '';

function delegate(key: SigningKey, more: Partial<Delegation> = {}): Parameters<TrustStore['learn']>[0] {
  return signDelegation(root, {
    fleet_id: FLEET,
    site_id: 'main',
    server_id: OTHER,
    public_key: Buffer.from(key.publicKey).toString('base64'),
    scopes: [...DELEGATION_SCOPES],
    epoch: 1,
    may_promote: true,
    not_before: now - DAY,
    not_after: now + 1000 * DAY,
    serial: 'first',
    ...more,
  });
}

function identity(): AgentIdentity {
  return {
    envoyId: ENVOY,
    fleetId: FLEET,
    siteId: 'main',
    hostname: 'web1',
    signingKey: newSigningKey(),
    sealingKeys: [newSealingKey()],
    rootPublicKey: root.publicKey,
    caBundle: '',
    tls: { certificateChain: '', privateKey: '' },
  };
}

function open(): void {
  state = openStateStore(join(stateDir, 'state'));
  trust = new TrustStore({ rootPublicKey: root.publicKey, fleetId: FLEET, facts: state.facts });
}

beforeEach(async () => {
  now = Date.parse('2026-03-01T12:00:00Z');
  stateDir = join(folder, String(++stores));
  open();
  await trust.learn(delegate(serverKey));
});
afterEach(() => state.close());
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const parts = () => ({ identity: identity(), trust, state, clock, log: quietLog() });
const module = { name: 'm', hash: 'h', origin: 'o', vars: {}, vars_when: [], compliance: {}, notify: [], subscribes: [], resources: [] };

function bodyBytes(release: number, more: object = {}): Buffer {
  return canonicalBytes({
    schema: 1,
    release,
    version: 'v',
    match: '*',
    entry: 'e#0',
    environment: null,
    roles: [],
    secrets_epoch: 0,
    secret_refs: [],
    module_count: 1,
    resource_count: 0,
    vars: {},
    vars_when: [],
    modules: [module],
    templates: {},
    devices: [],
    ...more,
  } as never);
}

function headerFor(body: Buffer, more: object = {}): BundleHeader {
  return {
    kind: 'bundle',
    fleet_id: FLEET,
    envoy_id: ENVOY,
    site_id: 'main',
    server_id: OTHER,
    owner_epoch: 1,
    epoch: 1,
    seq: 100,
    release: 5,
    body_sha256: sha256Hex(body),
    body_len: body.length,
    policy_hash: sha256Hex(body),
    issued_at: new Date(now).toISOString(),
    expires_at: new Date(now + DAY).toISOString(),
    prev: state.policy.held()?.headerHash ?? ZERO_HASH,
    observe: false,
    explicit_empty: false,
    key_id: KEY,
    ...more,
  };
}

type Signed = Extract<CheckInReply, { kind: 'bundle' | 'renew' | 'no_policy' }>;

function reply(header: BundleHeader, body: Uint8Array | undefined, more: Partial<Signed> = {}, key = serverKey): Signed {
  return { hints, kind: header.kind, keyId: KEY, header: signHeader(key, header), body, authority: canonicalJson(authority), ...more };
}

/** A genuine bundle of release 5, sequence 100. */
async function hold(): Promise<Signed> {
  const body = bodyBytes(5);
  const first = reply(headerFor(body), body);
  await takeReply(first, 0, parts());
  return first;
}

async function reasonOf(answer: CheckInReply): Promise<string> {
  return takeReply(answer, 0, parts()).then(
    () => 'accepted',
    (thrown: { code?: string; message: string }) => `${thrown.code}: ${thrown.message}`,
  );
}

const flip = (bytes: Uint8Array, at: number) => Buffer.from(bytes).map((byte, index) => (index === at ? byte ^ 1 : byte));
const next = (more: object = {}, body = bodyBytes(6)) => reply(headerFor(body, { seq: 101, release: 6, ...more }), body);
const withHeader = (answer: Signed, change: (header: SignedBytes) => SignedBytes): Signed => ({ ...answer, header: change(answer.header) });

/** bytes signed as they are, whatever they say */
function rawHeader(text: string, body = bodyBytes(6)): Signed {
  const record = Buffer.from(text);
  return { ...next({}, body), header: { record, signature: signFor('bundle', serverKey, record) } };
}

const deep = (depth: number) => `${'['.repeat(depth)}${']'.repeat(depth)}`;

describe('an answer no honest server gives is refused and the held policy stays', () => {
  test.each<[string, string | RegExp, () => Signed | Promise<Signed>]>([
    [
      'signed by a key nobody delegated',
      'bad_signature',
      () => reply(headerFor(bodyBytes(6), { seq: 101, release: 6 }), bodyBytes(6), {}, newSigningKey()),
    ],
    ['naming an unknown key', 'unknown_key', () => ({ ...next(), keyId: keyIdOf(newSigningKey().publicKey) })],
    [
      'one bit of the header changed',
      'bad_signature',
      () => withHeader(next(), ({ record, signature }) => ({ record: flip(record, 40), signature })),
    ],
    [
      'one bit of the signature changed',
      'bad_signature',
      () => withHeader(next(), ({ record, signature }) => ({ record, signature: flip(signature, 5) })),
    ],
    [
      'the header cut short',
      'bad_signature',
      () => withHeader(next(), ({ record, signature }) => ({ record: record.subarray(0, -1), signature })),
    ],
    [
      'a signature of another kind of thing',
      'bad_signature',
      () => withHeader(next(), ({ record }) => ({ record, signature: signFor('head', serverKey, record) })),
    ],
    ['a header of 9 KiB', 'header_too_large', () => rawHeader(JSON.stringify({ ...headerFor(bodyBytes(6)), reason: 'x'.repeat(9000) }))],
    ['a header that is no JSON', 'header_not_json', () => rawHeader('{"kind":')],
    ['a deep header', /^BUNDLE_REJECTED: header_(shape|not_json)$/, () => rawHeader(deep(4000))],
    ['key id in the header differs', 'key_id_mismatch', () => next({ key_id: '0000000000000000' })],
    ['of another fleet', 'other_fleet', () => next({ fleet_id: OTHER })],
    ['of another envoy', 'other_envoy', () => next({ envoy_id: OTHER })],
    ['of another site', 'other_site', () => next({ site_id: 'elsewhere' })],
    ['an older sequence number', 'lower_seq', () => next({ seq: 99 })],
    ['an older epoch', 'lower_epoch', () => next({ epoch: 0, seq: 1e6 })],
    ['an older owner epoch', 'lower_owner_epoch', () => next({ owner_epoch: 0, seq: 1e6 })],
    ['the same sequence number, other content', 'equivocation', () => next({ seq: 100 })],
    ['an older release', 'lower_release', () => next({ release: 4 }, bodyBytes(4))],
    ['built on another header', 'prev_mismatch', () => next({ prev: sha256Hex('another') })],
    ['built on nothing in the same reign', 'prev_mismatch', () => next({ prev: ZERO_HASH })],
    [
      'a sequence number above 2^53',
      /^BUNDLE_REJECTED: (header_shape|seq_out_of_range)$/,
      () => rawHeader(canonicalJson({ ...headerFor(bodyBytes(6)), seq: 1 } as never).replace('"seq":1', '"seq":9007199254740993')),
    ],
    ['a negative sequence number', 'header_shape', () => next({ seq: -1 })],
    ['a broken sequence number', 'header_shape', () => next({ seq: 101.5 })],
    ['a member that must be understood', 'unknown_critical_member', () => next({ critical: ['geofence'] })],
    ['dates the wrong way round', 'dates', () => next({ expires_at: new Date(now - 1).toISOString() })],
    ['header of one kind, answer of another', 'kind_mismatch', () => ({ ...next(), kind: 'renew' })],
    ['no body', 'body_length', () => ({ ...next(), body: undefined })],
    ['a body cut short', 'body_length', () => ({ ...next(), body: bodyBytes(6).subarray(0, -1) })],
    ['a body with one bit changed', 'body_hash', () => ({ ...next(), body: flip(bodyBytes(6), 30) })],
    ['a body of another bundle', /^BUNDLE_REJECTED: body_(length|hash)$/, () => ({ ...next(), body: bodyBytes(5) })],
    ['a body that is no JSON', 'body_not_json', () => next({}, Buffer.from('{"schema":1'))],
    ['a body that is no UTF-8', /^BUNDLE_REJECTED: body_(not_json|schema)$/, () => next({}, Buffer.from([0xff, 0xfe, 0x00]))],
    ['a body without modules', 'body_schema', () => next({}, Buffer.from('{"schema":1}'))],
    ['a body of a later schema', 'body_schema', () => next({}, bodyBytes(6, { schema: 2 }))],
    [
      'a deep body',
      'body_schema',
      () =>
        next(
          {},
          Buffer.from(
            bodyBytes(6)
              .toString()
              .replace('"vars":{}', `"vars":{"a":${deep(20_000)}}`),
          ),
        ),
    ],
    ['a body of another release', 'body_release', () => next({}, bodyBytes(7))],
    ['a module count that lies', 'module_count', () => next({}, bodyBytes(6, { module_count: 2 }))],
    ['a body without modules and without consent', 'empty_without_consent', () => next({}, bodyBytes(6, { module_count: 0, modules: [] }))],
    ['a renewal of a policy that is not held', 'renew_of_another_policy', () => next({ kind: 'renew' })],
    ['a directive that is no JSON', 'authority_shape', () => ({ ...next(), authority: '{' })],
    ['a directive of another shape', 'authority_shape', () => ({ ...next(), authority: '{"observe":"yes"}' })],
    [
      'a revocation the root did not sign',
      'the revocation is not signed by the pinned root key',
      () => ({
        ...next(),
        authority: canonicalJson({
          ...authority,
          revoked: [{ ...signRevocation(newSigningKey(), { fleet_id: FLEET, serial: 'first', at: 1 }) }],
        } as never),
      }),
    ],
  ])('%s', async (_, reason, make) => {
    await hold();
    const before = { held: state.policy.held(), authority: state.facts.get('authority'), provenAt: state.facts.get('provenAt') };
    const answer = await make();
    const said = await reasonOf(answer);
    if (reason instanceof RegExp) expect(said).toMatch(reason);
    else expect(said).toBe(`BUNDLE_REJECTED: ${reason}`);
    expect({ held: state.policy.held(), authority: state.facts.get('authority'), provenAt: state.facts.get('provenAt') }).toEqual(before);
    // nothing of it is on disk either, and the next honest answer is taken
    await state.close();
    open();
    expect(state.policy.held()).toEqual(before.held);
    expect(await reasonOf(next())).toBe('accepted');
  });

  test('a delegation that has ended, is for another site or scope, or is revoked', async () => {
    await hold();
    const cases: [Partial<Delegation>, RegExp][] = [
      [{ not_after: now - 1 }, /not valid now/],
      [{ not_before: now + 1 }, /not valid now/],
      [{ site_id: 'elsewhere' }, /for site elsewhere/],
      [{ scopes: ['enroll'] }, /does not allow "bundle"/],
    ];
    for (const [more, reason] of cases) {
      const key = newSigningKey();
      await trust.learn(delegate(key, { ...more, serial: 'second' }));
      const keyId = keyIdOf(key.publicKey);
      const body = bodyBytes(6);
      expect(await reasonOf(reply(headerFor(body, { seq: 101, release: 6, key_id: keyId }), body, { keyId }, key))).toMatch(reason);
    }
    await trust.learnRevocations([signRevocation(root, { fleet_id: FLEET, serial: 'first', at: now })]);
    expect(await reasonOf(next())).toMatch(/the delegation first is revoked/);
    // over a restart as well
    await state.close();
    open();
    expect(await reasonOf(next())).toMatch(/the delegation first is revoked/);
    expect(state.policy.held()?.header.seq).toBe(100);
    const stranger = newSigningKey();
    await expect(trust.learn(signDelegation(stranger, JSON.parse(delegate(stranger).record) as Delegation))).rejects.toMatchObject({
      code: 'BUNDLE_REJECTED',
    });
  });

  test('replayed and re-ordered answers: the newest wins, the same again changes nothing', async () => {
    const first = await hold();
    const second = next();
    expect(await reasonOf(second)).toBe('accepted');
    expect(await reasonOf(first)).toBe('BUNDLE_REJECTED: lower_seq');
    expect(await reasonOf(second)).toBe('accepted');
    expect(state.policy.held()?.header.seq).toBe(101);
  });

  test('no modules with consent is an order like any other', async () => {
    await hold();
    expect(await reasonOf(next({ explicit_empty: true }, bodyBytes(6, { module_count: 0, modules: [] })))).toBe('accepted');
  });

  test('members that this version does not know do not make its own state unreadable', async () => {
    await hold();
    const body = bodyBytes(6, { hue: 'blue', vars: JSON.parse('{"__proto__":{"a":1},"constructor":2}') as object });
    expect(await reasonOf(next({}, body))).toBe('accepted');
    await state.close();
    open();
    expect(state.policy.held()?.body?.sha256).toBe(sha256Hex(body));
    expect(({} as { a?: number }).a).toBeUndefined();
  });

  test('two headers of one sequence number are told to the server at the next check-in', async () => {
    await hold();
    await expect(takeReply(next({ seq: 100 }), 0, parts())).rejects.toMatchObject({ details: { equivocation: true } });
    await state.facts.set('bundleRejected', 'equivocation');
    const said: CheckIn[] = [];
    const link: ServerLink = {
      checkIn: (message) => {
        said.push(message);
        return Promise.resolve(next());
      },
      report: () => Promise.resolve([]),
      resolveSecrets: () => Promise.reject(new Error('not asked for')),
      server: '',
      clockOffsetMs: 0,
      close: () => undefined,
    };
    await checkIn({ ...parts(), link, dryRun: false, headerAgeMs: () => 0 }, {}, AbortSignal.timeout(1000));
    expect(said[0]).toMatchObject({ bundleRejected: 'equivocation', flags: ['equivocation'] });
    expect(state.facts.get('bundleRejected')).toBe('');
  });
});

describe('a frozen server', () => {
  const head = (more: object = {}, key = serverKey): CheckInReply => ({
    hints,
    kind: 'no_change',
    keyId: KEY,
    head: signHead(key, {
      fleet_id: FLEET,
      site_id: 'main',
      server_id: OTHER,
      epoch: 1,
      release: 5,
      root: ZERO_HASH,
      issued_at: new Date(now).toISOString(),
      expires_at: new Date(now + 300_000).toISOString(),
      ...more,
    }),
  });
  const status = async () => {
    await state.close();
    const settings = readSettings({}, { configDir: join(folder, 'config'), stateDir });
    const facts = await statusFacts(settings, new LocalSystem(), now);
    open();
    return facts;
  };

  test.each([
    ['signed by somebody else', 'bad_signature', () => head({}, newSigningKey())],
    ['of another site', 'head_of_another_site', () => head({ site_id: 'elsewhere' })],
    ['of another fleet', 'head_of_another_site', () => head({ fleet_id: OTHER })],
    ['of another epoch', 'head_of_another_epoch', () => head({ epoch: 2 })],
    ['of another release', 'head_of_another_release', () => head({ release: 6 })],
    ['older than one seen', 'head_older_than_seen', () => head({ issued_at: new Date(now - 60_000).toISOString() })],
    ['past its life', 'head_expired', () => head({ expires_at: new Date(now - 1).toISOString() })],
  ])('a head %s proves nothing', async (_, reason, make) => {
    await hold();
    const before = state.facts.get('provenAt');
    expect(await reasonOf(make())).toBe(`BUNDLE_REJECTED: ${reason}`);
    expect(state.facts.get('provenAt')).toBe(before);
  });

  test('one head over and over: refused as soon as its life is over; past the life of the bundle status and reports say so', async () => {
    await hold();
    const frozen = head();
    const began = now;
    for (; now <= began + 300_000; now += 60_000) expect(await reasonOf(frozen)).toBe('accepted');
    expect(await reasonOf(frozen)).toBe('BUNDLE_REJECTED: head_expired');
    expect((await status()).proven_current_at).toBe('2026-03-01T12:00:00Z');
    expect((await status()).warnings).toEqual([]);
    now = began + DAY + 1;
    expect((await status()).warnings).toEqual(['stale bundle']);
    expect((await status()).release).toBe(5);
  });

  test('a server whose time stands still cannot talk the agent out of it', async () => {
    await hold();
    const began = now;
    const frozen = head();
    now += 2 * DAY;
    // it claims that its own time is right, and the agent believes it for the dates of the head
    await takeReply(frozen, began - now, parts());
    await state.facts.set('clockSkewMs', began - now);
    expect((await status()).warnings).toEqual(expect.arrayContaining(['stale bundle', 'clock skew 2880m']));
  });
});
