/** A real server with publishing and REST in this process, and vigocli to ask it. Its state belongs to the test file that starts it. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { register } from '../../agent/enroll/register.ts';
import { main } from '../../cli/main.ts';
import { systemClock } from '../../core/base/clock.ts';
import { newId } from '../../core/base/ids.ts';
import type { Logger } from '../../core/base/log.ts';
import { Redactor } from '../../core/base/redaction.ts';
import type { CommandIo } from '../../core/command/command.ts';
import { initSite } from '../../server/init.ts';
import { createConfigPort } from '../../server/publish/config-port.ts';
import { Publisher } from '../../server/publish/publisher.ts';
import { createRestServer, type RestServer } from '../../server/rest/app.ts';
import { handlersOf } from '../../server/rest/index.ts';
import { type RestParts, restParts } from '../../server/rest/parts.ts';
import { type RunningServer, startServer } from '../../server/server.ts';
import { readSettings } from '../../server/settings.ts';
import { quietLog } from '../fakes/quiet-log.ts';

export const EXAMPLE = new URL('../../deploy/config-example', import.meta.url).pathname;
export const folder = mkdtempSync(join(tmpdir(), 'vigo-rest-'));
export const dataDir = join(folder, 'data');
export const home = join(folder, 'home');
export let running: RunningServer;
let publisher: Publisher;
export let restOf: RestParts;
let rest: RestServer;
export let port = 0;
export let rootCa = '';

interface Ran {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** vigocli in this process. */
export async function cli(
  argv: readonly string[],
  more: { stdin?: string; env?: Record<string, string>; terminal?: boolean } = {},
): Promise<Ran> {
  let out = '';
  let err = '';
  const io: CommandIo = {
    out: (text) => {
      out += text;
    },
    err: (text) => {
      err += text;
    },
    stdin: () => Promise.resolve(more.stdin ?? ''),
    ask: () => Promise.resolve(undefined),
    stdinIsTerminal: false,
    stdoutIsTerminal: more.terminal ?? false,
    stderrIsTerminal: false,
    columns: 120,
    env: { HOME: home, VIGO_DATA_DIR: dataDir, NO_COLOR: '1', ...more.env },
    signal: new AbortController().signal,
  };
  return { code: await main(argv, io), out, err };
}

export function https(
  method: string,
  path: string,
  options: { headers?: Record<string, string>; body?: string; socketPath?: string } = {},
): Promise<{ status: number; headers: Record<string, unknown>; body: string }> {
  return new Promise((resolve, reject) => {
    const where = options.socketPath === undefined ? { host: '127.0.0.1', port } : { socketPath: options.socketPath };
    const outgoing = request({
      ...where,
      servername: 'localhost',
      ca: rootCa,
      method,
      path,
      headers: { ...(options.body === undefined ? {} : { 'content-type': 'application/json' }), ...options.headers },
    });
    outgoing.once('error', reject);
    outgoing.once('response', (reply) => {
      let body = '';
      reply.setEncoding('utf8');
      reply.on('data', (chunk: string) => {
        body += chunk;
      });
      reply.on('end', () => resolve({ status: reply.statusCode ?? 0, headers: reply.headers, body }));
    });
    outgoing.end(options.body);
  });
}

/** Starts everything; once a test file. `settings`: more lines of server.yaml */
export async function startSite(more: { readonly settings?: string; readonly log?: Logger } = {}): Promise<void> {
  await initSite({
    dataDir,
    hostname: 'localhost',
    admin: 'root',
    offlineRoot: undefined,
    forceEmpty: false,
    exampleTree: EXAMPLE,
    clock: systemClock,
    settings: {},
  });
  const text =
    'server: { hostname: localhost, grpc_listen: "127.0.0.1:0", threads: 1 }\nenrollment: { token_bcrypt_cost: 10, pending: ["wait-*"] }\n' +
    (more.settings ?? '');
  const read = readSettings(text, { file: 'server.yaml', hostname: 'localhost' });
  if (!read.ok) throw new Error(read.problems.map(({ message }) => message).join());
  running = await startServer({
    dataDir,
    settings: read.settings,
    clock: systemClock,
    log: more.log ?? quietLog(),
    redactor: new Redactor(),
    version: 'test',
    fatal: (error) => {
      throw error;
    },
  });
  const { store, identity } = running.parts;
  rootCa = identity.rootCa;
  await store.users.add({
    id: newId(1),
    username: 'viewer',
    displayName: '',
    email: '',
    role: 'viewer',
    enabled: true,
    passwordHash: '',
    scope: {},
    createdAt: 1,
    lastLoginAt: 0,
  });
  const { fleet, paths, releases, secrets, trail } = running.parts;
  const hostnames = () => [...fleet.slots()].filter((slot) => fleet.view(slot).active).map((slot) => fleet.hostname(slot));
  publisher = new Publisher({
    paths,
    authority: identity,
    store,
    trail,
    secrets,
    clock: systemClock,
    log: quietLog(),
    hostnames,
    onRelease: (release) => releases.use(release),
  });
  await publisher.start();
  restOf = restParts(running.parts, createConfigPort({ publisher, stage: paths.stage, clock: systemClock, hostnames }));
  rest = await createRestServer(restOf, handlersOf(restOf));
  port = await rest.listen('127.0.0.1', 0);
  await rest.listenLocal(join(dataDir, 'run', 'admin.sock'));
}

export async function stopSite(): Promise<void> {
  await rest.close();
  await publisher.stop();
  await running.stop();
  rmSync(folder, { recursive: true, force: true });
}

/** A token of the user, as text. */
export async function tokenOf(user: string, scopes: readonly string[] = []): Promise<string> {
  const made = await cli([
    'auth',
    'create-token',
    '--user',
    user,
    '--name',
    'test',
    ...scopes.flatMap((scope) => ['--scope', scope]),
    '--json',
  ]);
  return (JSON.parse(made.out) as { token: string }).token;
}

export async function asUser(user: string): Promise<Record<string, string>> {
  const file = join(folder, `token-${user}`);
  writeFileSync(file, await tokenOf(user), { mode: 0o600 });
  return { VIGO_SERVER: `https://localhost:${port}`, VIGO_TOKEN_FILE: file };
}

/** Enrols with keys of its own, as the agent does. */
export function enrolAs(hostname: string, token: string | undefined) {
  const configDir = join(folder, `envoy-${hostname}`);
  return register({
    apiAddr: `https://localhost:${port}`,
    token,
    caPin: running.parts.identity.rootPin,
    hostname,
    configDir,
    force: false,
    version: 'test',
    clock: systemClock,
    signal: new AbortController().signal,
    waitMs: 0,
    confirmPin: () => Promise.resolve(false),
    progress: () => {},
  });
}

/** A report as an envoy sends it. */
export function reportOf(runId: string, outcomes: readonly object[]): Buffer {
  const at = Date.now();
  const head = {
    run_id: runId,
    body_hash: 'a'.repeat(64),
    release: 0,
    owner_epoch: 1,
    epoch: 1,
    seq: 1,
    started_at: at - 900,
    ended_at: at,
    mode: 'enforce',
    flags: [],
  };
  return Buffer.from(JSON.stringify({ ...head, outcomes }));
}
