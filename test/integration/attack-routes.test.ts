/** Every route of the API, made from the contracts: who is let in is what the contract's permission says, for every kind of caller. */
import { readFileSync } from 'node:fs';
import { type RequestOptions, request } from 'node:https';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { ROUTES } from '../../core/api/index.ts';
import { PERMISSIONS } from '../../core/api/permissions.ts';
import type { RouteContract } from '../../core/api/route.ts';
import { newId } from '../../core/base/ids.ts';
import { permissionsOf } from '../../server/access/roles.ts';
import { cli, enrolAs, folder, https, port, restOf, rootCa, running, startSite, stopSite, tokenOf } from '../harness/rest-site.ts';

const WHO = ['nobody', 'viewer', 'operator', 'auditor', 'admin', 'narrow', 'revoked', 'disabled', 'expired', 'garbage', 'agent'] as const;
type Who = (typeof WHO)[number];
const DEAD: ReadonlySet<Who> = new Set(['nobody', 'revoked', 'disabled', 'expired', 'garbage', 'agent']);
/** No route knows it: whoever is let in is stopped before anything happens. */
const UNKNOWN_FIELD = '{"no_such_field":1}';
const tokens: Partial<Record<Who, string>> = {};
let certificate: { cert: string; key: string };

async function addUser(username: string, role: string): Promise<void> {
  const text = { displayName: '', email: '', passwordHash: '', scope: {} };
  await running.parts.store.users.add({ ...text, id: newId(Date.now()), username, role, enabled: true, createdAt: 1, lastLoginAt: 0 });
}

beforeAll(async () => {
  await startSite();
  for (const role of ['operator', 'auditor', 'admin']) await addUser(`the-${role}`, role);
  await addUser('leaver', 'admin');
  tokens.viewer = await tokenOf('viewer');
  tokens.operator = await tokenOf('the-operator');
  tokens.auditor = await tokenOf('the-auditor');
  // all scopes: without any a token lacks user.manage
  tokens.admin = await tokenOf('the-admin', PERMISSIONS);
  tokens.narrow = await tokenOf('the-admin', ['fleet.read']);
  tokens.revoked = await tokenOf('the-admin');
  await cli(['auth', 'revoke-token', tokens.revoked.split('_')[1]!]);
  tokens.disabled = await tokenOf('leaver');
  const leaver = await running.parts.store.users.byName('leaver');
  await running.parts.store.users.update(leaver!.id, { enabled: false });
  tokens.expired = await expired();
  tokens.garbage = `vgot_${'0'.repeat(16)}_${'0'.repeat(64)}`;
  const { items } = JSON.parse((await cli(['tokens', 'create', '--pattern', 'agent.example.com', '--json'])).out) as {
    items: { token: string }[];
  };
  await enrolAs('agent.example.com', items[0]!.token);
  const of = (name: string) => readFileSync(join(folder, 'envoy-agent.example.com', name), 'utf8');
  certificate = { cert: of('tls.pem'), key: of('tls.key') };
}, 60_000);
afterAll(stopSite, 30_000);

/** A token whose life is over by the time it is used. */
async function expired(): Promise<string> {
  const owner = (await running.parts.store.users.byName('the-admin'))!;
  const by = { kind: 'local', id: 'x', name: 'x', role: 'admin', permissions: new Set(PERMISSIONS), address: 'local' } as const;
  return (await restOf.apiTokens.create({ name: 'short', lifeMs: 1, scopes: [], owner }, by, 'r')).token;
}

function ask(contract: RouteContract, who: Who, more: Record<string, string> = {}): Promise<{ status: number; body: string }> {
  const path = contract.path.replace(/\{(\w+)\}/g, (_all, name: string) => (name === 'number' || name === 'seq' ? '999999' : 'none'));
  const token = tokens[who];
  const options: RequestOptions = {
    host: '127.0.0.1',
    port,
    servername: 'localhost',
    ca: rootCa,
    agent: false,
    method: contract.method,
    path,
    headers: {
      ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
      ...(contract.needsMatch ? { 'if-match': '*' } : {}),
      ...(contract.method === 'GET' ? {} : { 'content-type': 'application/json', 'content-length': String(UNKNOWN_FIELD.length) }),
      'idempotency-key': newId(Date.now()),
      ...more,
    },
    ...(who === 'agent' ? certificate : {}),
  };
  return new Promise((resolve, reject) => {
    const call = request(options, (reply) => {
      let body = '';
      const done = () => {
        call.destroy();
        resolve({ status: reply.statusCode ?? 0, body });
      };
      reply.setEncoding('utf8');
      reply.on('data', (part: string) => {
        body += part;
        // a stream has no end of its own
        if (contract.form === 'events') done();
      });
      reply.once('end', done);
    });
    call.once('error', reject);
    call.end(contract.method === 'GET' ? undefined : UNKNOWN_FIELD);
  });
}

const ROLE_OF: Partial<Record<Who, string>> = { viewer: 'viewer', operator: 'operator', auditor: 'auditor', admin: 'admin' };

/** What the contract says: 401, 403, or undefined for let in. */
function refusal({ permission }: RouteContract, who: Who): number | undefined {
  if (permission === 'public') return undefined;
  if (permission === 'agent') return 401;
  if (DEAD.has(who)) return 401;
  if (permission === 'signed-in') return undefined;
  const wanted = permission === 'metrics' ? 'metrics.read' : permission;
  const holds = who === 'narrow' ? wanted === 'fleet.read' : permissionsOf(ROLE_OF[who]!).has(wanted);
  return holds ? undefined : 403;
}

describe.each(WHO)('%s', (who) => {
  test.each(ROUTES.map((contract) => [contract.name, contract] as const))('%s', async (_name, contract) => {
    const { status, body } = await ask(contract, who);
    const expected = refusal(contract, who);
    if (expected === undefined) expect([401, 403]).not.toContain(status);
    else expect([status, body]).toEqual([expected, expect.stringContaining('"code"')]);
    expect(status).not.toBe(500);
    // nobody who is turned away is told anything of what is inside
    if (status === 401) expect(body).not.toMatch(/example\.com|vgt_|vgot_|the-admin/);
  });
});

test.each([
  { 'x-forwarded-user': 'root' },
  { 'X-Client-Cert': 'admin' },
  { 'x-remote-user': 'root', 'x-forwarded-for': '127.0.0.1' },
  { 'grpc-metadata-authorization': 'x' },
  { 'x-vigo-claimed-by': 'root' },
  { cookie: '__Host-vigo=1' },
  { authorization: 'Basic cm9vdDpyb290' },
  { authorization: 'Bearer ' },
  { 'x-http-method-override': 'GET' },
])('%p makes nobody somebody', async (headers) => {
  const contract = ROUTES.find(({ name }) => name === 'envoys.list')!;
  expect((await ask(contract, 'nobody', headers)).status).toBe(401);
});

test('a secret that is revealed twice with one Idempotency-Key is recorded twice, and not answered from memory', async () => {
  await cli(['secrets', 'set', 'db/password'], { stdin: 'first-value' });
  const headers = { authorization: `Bearer ${tokens.admin}`, 'content-type': 'application/json', 'idempotency-key': 'k'.repeat(20) };
  const reveal = () => https('POST', '/api/v1/secrets/db%2Fpassword/reveal', { headers, body: '{"reason":"test"}' });
  const first = await reveal();
  expect(first.status).toBe(200);
  await cli(['secrets', 'set', 'db/password'], { stdin: 'second-value' });
  const again = JSON.parse((await reveal()).body) as { value: string };
  expect(Buffer.from(again.value, 'base64').toString()).toBe('second-value');
  expect(await running.parts.store.audit.list({ event: 'secret.revealed' }, 10)).toHaveLength(2);
});
