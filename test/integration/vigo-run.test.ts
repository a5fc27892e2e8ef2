/** The program `vigo` against a real server: one run, a second, drift, another policy, the server gone. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, jest, test } from '@jest/globals';
import { agentGlobals } from '../../agent/commands/globals.ts';
import { COMMANDS } from '../../agent/commands/index.ts';
import { agentPaths, enrollKeys } from '../../agent/enroll/identity.ts';
import { formatSettings } from '../../agent/settings.ts';
import type { EnrollRequest } from '../../core/api/enroll.ts';
import { systemClock } from '../../core/base/clock.ts';
import { canonicalBytes } from '../../core/base/json.ts';
import { createLogger } from '../../core/base/log.ts';
import { Redactor } from '../../core/base/redaction.ts';
import type { CommandIo } from '../../core/command/command.ts';
import { runProgram } from '../../core/command/run.ts';
import { signFor } from '../../core/crypto/domain.ts';
import { sha256Hex } from '../../core/policy/bundle.ts';
import type { RunReport } from '../../core/policy/outcome.ts';
import { initSite } from '../../server/init.ts';
import { type RunningServer, startServer } from '../../server/server.ts';
import { readSettings } from '../../server/settings.ts';
import { policyFrom } from '../harness/policy.ts';

// real processes: patience for a busy machine
jest.setTimeout(60_000);

const HOSTNAME = 'web1.example.com';
const dir = mkdtempSync(join(tmpdir(), 'vigo-run-'));
const configDir = join(dir, 'config');
const stateDir = join(dir, 'state');
const target = join(dir, 'managed');
let server: RunningServer | undefined;

async function publish(number: number, resources: string): Promise<void> {
  const { body, errors } = policyFrom({ web: `resources:\n${resources}` });
  expect(errors).toEqual([]);
  const bytes = canonicalBytes({ ...body, release: number });
  const entry = {
    entry: body.entry,
    body: bytes,
    bodySha256: sha256Hex(bytes),
    policyHash: sha256Hex(resources),
    secretsEpoch: body.secrets_epoch,
    observe: false,
    moduleCount: body.module_count,
    secretRefs: body.secret_refs,
  };
  await server!.parts.releases.use({
    number,
    version: body.version,
    root: sha256Hex(`${number}`),
    entries: new Map([[body.entry, entry]]),
    entryIdFor: () => body.entry,
    environmentOf: () => null,
  });
}

/** What `vigo register` leaves in the config directory. */
async function enroll(): Promise<void> {
  const keys = await enrollKeys(configDir);
  const { parts, rpcPort } = server!;
  const { token } = await parts.tokens.create({ pattern: HOSTNAME, ttlMs: 60_000 }, { kind: 'system', id: 'test', name: 'test' });
  const unsigned = {
    token,
    hostname: HOSTNAME,
    csr: keys.csr,
    identity_key: Buffer.from(keys.signingKey.publicKey).toString('base64'),
    sealing_key: Buffer.from(keys.sealingKey.publicKey).toString('base64'),
    platform: 'linux/x64',
    agent_version: '0',
    timestamp_ms: Date.now(),
  };
  const request: EnrollRequest = { ...unsigned, proof: signFor('enroll', keys.signingKey, canonicalBytes(unsigned)).toString('base64') };
  const result = await parts.enrollment.enroll(request, '127.0.0.1');
  if (result.status !== 'enrolled') throw new Error('not enrolled');
  const { reply } = result;
  const paths = agentPaths(configDir);
  writeFileSync(paths.tlsCertificate, reply.certificate, { mode: 0o600 });
  writeFileSync(paths.caBundle, reply.ca_bundle);
  writeFileSync(paths.rootKey, `${reply.root_public_key}\n`);
  writeFileSync(paths.envoyId, `${reply.envoy_id}\n`);
  const settings = {
    server: `localhost:${rpcPort}`,
    hostname: HOSTNAME,
    site_id: reply.site_id,
    fleet_id: reply.fleet_id,
    log_level: 'error',
  };
  writeFileSync(paths.config, formatSettings(settings), { mode: 0o600 });
}

async function vigo(...words: string[]): Promise<{ code: number; out: string; err: string }> {
  let out = '';
  let err = '';
  const io: CommandIo = {
    out: (text) => {
      out += text;
    },
    err: (text) => {
      err += text;
    },
    stdin: () => Promise.resolve(''),
    ask: () => Promise.resolve(undefined),
    stdinIsTerminal: false,
    stdoutIsTerminal: false,
    stderrIsTerminal: false,
    columns: 120,
    env: {},
    signal: AbortSignal.timeout(30_000),
  };
  const program = { name: 'vigo', summary: '', version: '0', globals: agentGlobals, commands: COMMANDS };
  const code = await runProgram(program, [...words, '--config-dir', configDir, '--state-dir', stateDir], io);
  return { code, out, err };
}

const withoutTimes = (text: string) => text.replaceAll(/\(\d+ ms\)|in \d+m?s/g, '(-)');
const conf = (content: string) => `- name: conf\n  type: file\n  target_path: ${target}\n  content: ${content}\n`;

beforeAll(async () => {
  const dataDir = join(dir, 'server');
  mkdirSync(configDir, { mode: 0o700 });
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
  const parsed = readSettings(readFileSync(join(dataDir, 'server.yaml'), 'utf8'), { file: 'server.yaml', hostname: 'localhost' });
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.problems));
  server = await startServer({
    dataDir,
    settings: parsed.settings,
    clock: systemClock,
    log: createLogger({ level: 'error', format: 'json' }),
    redactor: new Redactor(),
    version: '0',
    fatal: (error) => {
      throw error;
    },
  });
  await enroll();
});
afterAll(async () => {
  await server?.stop();
  rmSync(dir, { recursive: true, force: true });
});

test('the life of a policy, told by the program', async () => {
  const nothing = await vigo('run');
  expect([nothing.code, nothing.err]).toEqual([4, expect.stringContaining('there is no policy to enforce')]);
  expect((await vigo('status')).out).toContain('Enforcing:        nothing\n');

  await publish(1, conf('one'));
  const first = await vigo('run');
  expect([first.code, withoutTimes(first.err)]).toEqual([
    0,
    'web\ncreated file[conf] exists (-)\n0 ok, 1 changed, 0 failed, 0 blocked, 0 skipped (-)\n',
  ]);
  expect(readFileSync(target, 'utf8')).toBe('one');
  expect(withoutTimes((await vigo('run')).err)).toContain('none file[conf] (-)\n1 ok, 0 changed');

  writeFileSync(target, 'broken');
  const dry = await vigo('run', '--dry-run');
  expect([dry.code, withoutTimes(dry.err)]).toEqual([0, expect.stringContaining('updated file[conf] would change: content (-)\n')]);
  expect(readFileSync(target, 'utf8')).toBe('broken');
  const report = JSON.parse((await vigo('run', '--json')).out) as RunReport;
  expect([report.mode, report.release, report.outcomes.map(({ action }) => action)]).toEqual(['enforce', 1, ['updated']]);
  expect((await vigo('snapshots', 'show', target)).out).toBe('broken');

  await publish(
    2,
    `${conf('two')}- name: own\n  type: file\n  target_path: "{{ .Traits.identity.envoy_id | printf \\"${configDir}/%s\\" }}"\n  content: x\n`,
  );
  const guarded = await vigo('run');
  expect([guarded.code, withoutTimes(guarded.err)]).toEqual([
    1,
    expect.stringContaining('updated file[conf] content (-)\nerror file[own] guardrail: GUARD-1'),
  ]);
  expect((await vigo('run', '--module', 'nope')).code).toBe(1);
  expect((await vigo('run', '--configcrate', 'web')).code).toBe(1);

  const status = (await vigo('status')).out;
  expect(status).toMatch(/^Envoy ID: {9}[0-9a-f-]{36}\nServer: {11}localhost:\d+\n/);
  expect(status).toMatch(/\nEnforcing: {8}release 2, proven current at \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\n\nPolicy:\n {2}Cached: {9}yes\n/);
  expect(status).toContain(`  [web]\n    file: ${target}\n`);
  expect(status).toMatch(/\nTraits:\n {2}Cached: {9}yes\n {2}Collectors: {5}\d+\n/);
  expect(status).toContain('Server pubkey:    present\n');
  const doctor = await vigo('doctor');
  expect([doctor.code, doctor.out]).toEqual([0, expect.stringContaining('TLSv1.3 with a certificate of the fleet')]);

  await server!.stop();
  server = undefined;
  writeFileSync(target, 'broken again');
  const offline = await vigo('run');
  expect(withoutTimes(offline.err)).toContain('updated file[conf] content (-)\n');
  expect(readFileSync(target, 'utf8')).toBe('two');
  expect((await vigo('status')).out).toMatch(/\nPending results: {2}[1-9]\d*\n/);
  expect((await vigo('doctor')).code).toBe(5);
}, 60_000);
