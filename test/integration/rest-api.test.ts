/** Who may do what over REST, and the form of its answers. */

import { chmodSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { ROUTES } from '../../core/api/index.ts';
import { handlersOf } from '../../server/rest/index.ts';
import { problemOf, toCoded } from '../../server/rest/problem.ts';
import { asUser, cli, dataDir, https, port, restOf, rootCa, startSite, stopSite, tokenOf } from '../harness/rest-site.ts';

beforeAll(() => startSite(), 60_000);
afterAll(stopSite, 30_000);

describe('who may', () => {
  test('the local socket is its owner, with mode 0600', async () => {
    expect(statSync(join(dataDir, 'run', 'admin.sock')).mode & 0o777).toBe(0o600);
    const ran = await cli(['auth', 'status', '--json']);
    expect(JSON.parse(ran.out)).toMatchObject({ kind: 'local', role: 'admin', user: expect.stringMatching(/^local:/) });
  });

  test('nobody without a token, and no token beside the socket', async () => {
    const none = await https('GET', '/api/v1/envoys');
    expect([none.status, JSON.parse(none.body)]).toMatchObject([
      401,
      { code: 'UNAUTHENTICATED', type: 'urn:vigo:error:UNAUTHENTICATED', request_id: expect.any(String) },
    ]);
    expect(none.headers).toMatchObject({
      'content-type': expect.stringContaining('application/problem+json'),
      'cache-control': 'no-store',
      'x-content-type-options': 'nosniff',
    });
    const both = await https('GET', '/api/v1/session', {
      socketPath: join(dataDir, 'run', 'admin.sock'),
      headers: { authorization: `Bearer vgot_${'0'.repeat(16)}_${'0'.repeat(64)}` },
    });
    expect(JSON.parse(both.body)).toMatchObject({ code: 'AMBIGUOUS_AUTH' });
    const wrong = await https('GET', '/api/v1/session', { headers: { authorization: `Bearer vgot_${'0'.repeat(16)}_${'0'.repeat(64)}` } });
    expect(wrong.status).toBe(401);
  });

  test('a viewer reads, and is told which permission is missing for more', async () => {
    const env = await asUser('viewer');
    expect((await cli(['envoys', 'list'], { env })).code).toBe(0);
    const refused = await cli(['tokens', 'create', '--pattern', '*'], { env });
    expect([refused.code, refused.err]).toEqual([6, expect.stringContaining('token.manage')]);
    expect((await cli(['auth', 'create-token', '--name', 'x'], { env })).code).toBe(6);
    const recorded = JSON.parse((await cli(['audit', 'log', '--event', 'access.denied', '--json'])).out) as {
      items: { actor: string; record: object }[];
    };
    expect(recorded.items.find(({ actor }) => actor === 'viewer')?.record).toMatchObject({
      outcome: 'denied',
      data: { permission: 'token.manage', count: 1 },
    });
  });

  test('scopes narrow a token, and a revoked one is dead', async () => {
    const token = await tokenOf('root', ['fleet.read']);
    const headers = { authorization: `Bearer ${token}` };
    expect((await https('GET', '/api/v1/fleet/summary', { headers })).status).toBe(200);
    expect((await https('GET', '/api/v1/audit', { headers })).status).toBe(403);
    expect((await cli(['auth', 'revoke-token', token.split('_')[1]!])).code).toBe(0);
    expect((await https('GET', '/api/v1/fleet/summary', { headers })).status).toBe(401);
  });

  test('a token file that others can read is refused', async () => {
    const env = await asUser('viewer');
    chmodSync(env['VIGO_TOKEN_FILE']!, 0o644);
    const ran = await cli(['envoys', 'list'], { env });
    expect([ran.code, ran.err]).toEqual([6, expect.stringContaining('KEY_FILE_PERMISSIONS')]);
  });

  test('another CA is not believed', async () => {
    const ran = await cli(['version', '--json'], { env: { VIGO_SERVER: `https://localhost:${port}`, VIGO_DATA_DIR: '/nowhere' } });
    expect(JSON.parse(ran.out)).toMatchObject({ server: null });
  });
});

describe('the form of answers', () => {
  const local = () => ({ socketPath: join(dataDir, 'run', 'admin.sock') });
  test.each<[string, string, string | undefined, number, object]>([
    ['GET', '/api/v1/envoys?stat=x', undefined, 400, { code: 'BAD_REQUEST', detail: expect.stringContaining('did you mean "state"?') }],
    [
      'POST',
      '/api/v1/envoys/push',
      '{"tarket":"x"}',
      400,
      { findings: [{ path: 'body.tarket', rule: 'unknown_field', message: expect.stringContaining('target') }] },
    ],
    ['POST', '/api/v1/envoys/push', '{"__proto__":{"target":"x"}}', 400, { code: 'BAD_REQUEST' }],
    ['POST', '/api/v1/envoys/push', '{broken', 400, { code: 'BAD_REQUEST' }],
    ['POST', '/api/v1/envoys/push', `{"target":"${'x'.repeat(3_000_000)}"}`, 413, { code: 'TOO_LARGE' }],
    ['POST', '/api/v1/envoys/push', `${'{"a":'.repeat(60)}1${'}'.repeat(60)}`, 400, { code: 'BAD_REQUEST' }],
    ['POST', '/api/v1/tokens', '{"pattern":"a"}', 428, { code: 'PRECONDITION_REQUIRED' }],
    ['DELETE', '/api/v1/tokens/x', undefined, 428, { code: 'PRECONDITION_REQUIRED' }],
    ['GET', '/api/v1/nothing', undefined, 404, { code: 'NOT_FOUND' }],
    ['GET', '/api/v1/runs?cursor=abc.def', undefined, 410, { code: 'CURSOR_EXPIRED' }],
    ['GET', '/api/v1/envoys?target=-a', undefined, 400, { code: 'TARGET_SYNTAX' }],
  ])('%s %s', async (method, path, body, status, expected) => {
    const reply = await https(method, path, { ...local(), ...(body === undefined ? {} : { body }) });
    expect([reply.status, JSON.parse(reply.body)]).toMatchObject([status, expected]);
  });

  test('an unexpected failure says nothing of its text', () => {
    const { body } = problemOf(toCoded(new TypeError('a bug with a secret text')), { path: '/x', requestId: 'r' });
    expect(body).toMatchObject({ code: 'INTERNAL', status: 500, request_id: 'r' });
    expect(JSON.stringify(body)).not.toContain('secret text');
  });

  test('one Idempotency-Key makes tokens once', async () => {
    const ask = (body: string) => https('POST', '/api/v1/tokens', { ...local(), body, headers: { 'idempotency-key': 'k'.repeat(20) } });
    const first = await ask('{"pattern":"once-*"}');
    const again = await ask('{"pattern":"once-*"}');
    expect([first.status, again.status, again.body]).toEqual([201, 201, first.body]);
    expect(again.headers['idempotency-replayed']).toBe('true');
    expect((await ask('{"pattern":"other-*"}')).status).toBe(409);
  });

  test('ETag: 304 when equal, 412 when changed', async () => {
    const made = JSON.parse((await cli(['tokens', 'create', '--pattern', 'etag-*', '--json'])).out) as { items: { id: string }[] };
    const path = `/api/v1/tokens/${made.items[0]!.id}`;
    const etag = String((await https('GET', path, local())).headers['etag']);
    expect((await https('GET', path, { ...local(), headers: { 'if-none-match': etag } })).status).toBe(304);
    expect((await https('DELETE', path, { ...local(), headers: { 'if-match': '"other"' } })).status).toBe(412);
    expect((await https('DELETE', path, { ...local(), headers: { 'if-match': etag } })).status).toBe(200);
  });

  test('public pages need nobody', async () => {
    expect((await https('GET', '/healthz')).body).toBe('ok\n');
    expect(JSON.parse((await https('GET', '/readyz')).body)).toEqual({ ready: false, reasons: ['no release is live'] });
    expect((await https('GET', '/bootstrap/ca.pem')).body).toBe(rootCa);
    const api = JSON.parse((await https('GET', '/api/v1/openapi.json')).body) as { paths: Record<string, object> };
    expect(Object.values(api.paths).flatMap((path) => Object.keys(path)).length).toBe(ROUTES.length);
    expect((await https('GET', '/metrics')).status).toBe(401);
  });

  test('every contract has one handler', () => {
    const names = handlersOf(restOf).map(({ contract }) => contract.name);
    expect(names.sort()).toEqual(ROUTES.map(({ name }) => name).sort());
  });
});
