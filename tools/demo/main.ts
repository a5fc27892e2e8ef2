/** `npm start`: a server and three envoys on loopback; publishes, converges, breaks a file, shows the repair. `--once` ends there, `--reset` starts afresh. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { type ApiClient, createApiClient } from '../../cli/api-client.ts';
import { connectionOf } from '../../cli/settings.ts';
import { publishConfig } from '../../core/api/config.ts';
import { listEnvoys } from '../../core/api/envoys.ts';
import { getRun, listRuns } from '../../core/api/runs.ts';
import { readyz } from '../../core/api/server.ts';
import { createTokens } from '../../core/api/tokens.ts';
import { messageOf } from '../../core/base/errors.ts';
import { at, cliPrefix, ENVOYS, type Ports, prepare, reset, runOnce, socketPath, stage, start, stopAll } from './site.ts';
import { LiveTable, type Row } from './table.ts';

const CONVERGE_MS = 90_000;
const REPAIR_MS = 45_000;
const BROKEN_HOST = 'demo-2.local';

const say = (text: string): void => void process.stdout.write(`${text}\n`);
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
let dead: string | undefined;

async function until<T>(what: string, limitMs: number, look: () => Promise<T | undefined>): Promise<T> {
  const end = performance.now() + limitMs;
  let last = '';
  for (;;) {
    if (dead !== undefined) throw new Error(dead);
    try {
      const found = await look();
      if (found !== undefined) return found;
    } catch (thrown) {
      last = messageOf(thrown);
    }
    if (performance.now() > end) throw new Error(`${what} did not happen within ${limitMs / 1000} s${last === '' ? '' : `: ${last}`}`);
    await pause(250);
  }
}

function startServer(): void {
  const root = process.getuid?.() === 0 ? ['--allow-root'] : [];
  start('server', 'vigosrv', ['--data-dir', at.server, ...root, 'run'], (why) => {
    dead = why;
  });
}

async function connected(): Promise<ApiClient> {
  return until('the start of the server', 30_000, async () => {
    if (!existsSync(socketPath)) return undefined;
    const client = createApiClient(
      connectionOf({ server: `unix:${socketPath}`, dataDir: at.server, caFile: join(at.server, 'tls', 'ca-bundle.pem') }, {}),
      {
        signal: new AbortController().signal,
        claimedBy: 'demo',
      },
    );
    await client.call(listEnvoys, { query: {} });
    return client;
  });
}

async function enrol(client: ApiClient, ports: Ports): Promise<number> {
  const missing = ENVOYS.filter((hostname) => !existsSync(join(at.envoy(hostname).config, 'envoy-id')));
  await Promise.all(
    missing.map(async (hostname) => {
      const { items } = await client.call(createTokens, { body: { pattern: hostname } });
      const { config, state } = at.envoy(hostname);
      const tokenFile = join(at.logs, `${hostname}.token`);
      writeFileSync(tokenFile, items[0]!.token, { mode: 0o600 });
      await runOnce('vigo', [
        '--config-dir',
        config,
        '--state-dir',
        state,
        '--api-addr',
        `https://localhost:${ports.api}`,
        'register',
        '--token-file',
        tokenFile,
        '--hostname',
        hostname,
      ]);
      writeFileSync(tokenFile, '', { mode: 0o600 });
    }),
  );
  return missing.length;
}

function startEnvoys(): void {
  for (const hostname of ENVOYS) {
    const { config, state } = at.envoy(hostname);
    start(hostname, 'vigo', ['--config-dir', config, '--state-dir', state, 'daemon'], (why) => {
      dead = why;
    });
  }
}

async function publish(client: ApiClient): Promise<string> {
  stage();
  const result = await client.call(publishConfig, { body: { message: 'demo' } });
  const errors = result.findings.filter(({ severity }) => severity === 'error');
  if (errors.length > 0)
    throw new Error(`the tree does not validate: ${errors.map(({ rule, message }) => `${rule} ${message}`).join('; ')}`);
  return result.status === 'nothing' ? 'the live release is current' : `release ${result.number} is live (${result.root.slice(0, 12)})`;
}

async function rows(client: ApiClient): Promise<Row[]> {
  const { items } = await client.call(listEnvoys, { query: {} });
  const runs = await client.call(listRuns, { query: { limit: 30 } });
  return items
    .filter(({ status }) => status === 'active')
    .sort((a, b) => (a.hostname < b.hostname ? -1 : 1))
    .map((envoy) => {
      const run = runs.items.find(({ hostname }) => hostname === envoy.hostname);
      const counts = run === undefined ? '–' : `${run.ok} ok, ${run.changed} changed, ${run.failed} failed`;
      return { ...envoy, resources: counts, last: run?.started_at?.slice(11, 19) ?? '–' };
    });
}

async function converge(client: ApiClient, table: LiveTable): Promise<void> {
  await until('convergence of all envoys', CONVERGE_MS, async () => {
    const now = await rows(client);
    table.show(now);
    return now.length === ENVOYS.length && now.every(({ state, release }) => state === 'converged' && release > 0) ? true : undefined;
  });
}

/** Edits a managed file behind the envoy's back; answers what the run that repaired it said. */
async function breakAndRepair(client: ApiClient, table: LiveTable): Promise<string> {
  const file = join(at.hosts, BROKEN_HOST, 'etc', 'motd');
  const wanted = readFileSync(file, 'utf8');
  writeFileSync(file, 'edited by hand\n');
  const begun = new Date().toISOString();
  say(`\nBroke ${file.replace(`${process.cwd()}/`, '')} on ${BROKEN_HOST} ...`);
  table.leave();
  await until('the repair', REPAIR_MS, async () => {
    table.show(await rows(client));
    return readFileSync(file, 'utf8') === wanted ? true : undefined;
  });
  return until('the report of the repair', REPAIR_MS, async () => {
    table.show(await rows(client));
    const { items } = await client.call(listRuns, { query: { limit: 30 } });
    const run = items.find(({ hostname, changed, started_at: at }) => hostname === BROKEN_HOST && changed > 0 && (at ?? '') >= begun);
    if (run === undefined) return undefined;
    const { outcomes } = await client.call(getRun, { params: { id: run.id } });
    const repaired = (outcomes ?? []).find(({ type, action }) => type === 'file' && action === 'updated');
    return repaired === undefined ? undefined : `${repaired.action} ${repaired.type}[${repaired.name}] on ${BROKEN_HOST}, run ${run.id}`;
  });
}

function hints(): string {
  return `
What to try next (the demo stays up; Ctrl-C ends it):
  ${cliPrefix} envoys list
  ${cliPrefix} runs list --changed
  ${cliPrefix} config trace demo-1.local
  ${cliPrefix} audit log
  edit .vigo/demo/server/stacks/modules/app.vgo, then: ${cliPrefix} config publish --yes
`;
}

async function demo(once: boolean): Promise<void> {
  const table = new LiveTable();
  const ports = await prepare();
  startServer();
  const client = await connected();
  say(`Server:   https://localhost:${ports.api} (REST), localhost:${ports.rpc} (agents)`);
  const enrolled = await enrol(client, ports);
  say(`Envoys:   ${ENVOYS.join(', ')}${enrolled > 0 ? ' enrolled with one-time tokens' : ' (enrolled before)'}`);
  say(`Policy:   ${await publish(client)}`);
  startEnvoys();
  say('');
  await converge(client, table);
  const repair = await breakAndRepair(client, table);
  say(`\nDrift repaired: ${repair}`);
  await client.call(readyz).catch(() => undefined);
  if (once) {
    client.close();
    return;
  }
  say(hints());
  table.leave();
  const stop = new Promise<void>((resolve) => {
    process.once('SIGINT', resolve);
    process.once('SIGTERM', resolve);
  });
  let stopped = false;
  void stop.then(() => {
    stopped = true;
  });
  while (!stopped) {
    if (dead !== undefined) throw new Error(dead);
    table.show(await rows(client));
    await Promise.race([stop, pause(1000)]);
  }
  client.close();
}

const { values } = parseArgs({ options: { once: { type: 'boolean', default: false }, reset: { type: 'boolean', default: false } } });
if (values.reset) reset();
try {
  await demo(values.once);
  if (values.once) say('Converged and repaired.');
} catch (thrown) {
  process.stderr.write(`\nThe demo failed: ${messageOf(thrown)}\nLogs: .vigo/demo/logs. Start afresh with: npm start -- --reset\n`);
  process.exitCode = 1;
} finally {
  await stopAll();
}
