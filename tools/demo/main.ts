/**
 * `npm start`: a hub, two spokes and six envoys on loopback. Enrols at the hub, publishes, converges, moves an envoy, drains a spoke and takes it back, breaks
 * a file and shows the repair. `--once` ends there, `--reset` starts afresh.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { type ApiClient, createApiClient } from '../../cli/api-client.ts';
import { connectionOf } from '../../cli/settings.ts';
import { publishConfig } from '../../core/api/config.ts';
import { listEnvoys } from '../../core/api/envoys.ts';
import { getRun, listRuns } from '../../core/api/runs.ts';
import { createTokens } from '../../core/api/tokens.ts';
import { messageOf } from '../../core/base/errors.ts';
import {
  at,
  cli,
  cliPrefix,
  ENVOYS,
  portsOf,
  prepareHub,
  prepareSpoke,
  reset,
  runOnce,
  type SiteId,
  SPOKES,
  socketOf,
  stage,
  start,
  startServer,
  stopAll,
} from './site.ts';
import { LiveTable, type Row } from './table.ts';

const CONVERGE_MS = 90_000;
const STEP_MS = 60_000;
const MOVED_HOST = 'web2.north.local';
const BROKEN_HOST = 'web2.south.local';

const say = (text: string): void => void process.stdout.write(`${text}\n`);
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
let dead: string | undefined;
let interrupted = false;
const died = (why: string): void => {
  dead = why;
};

async function until<T>(what: string, limitMs: number, look: () => Promise<T | undefined>): Promise<T> {
  const end = performance.now() + limitMs;
  let last = '';
  for (;;) {
    if (dead !== undefined) throw new Error(dead);
    if (interrupted) throw new Error('it was interrupted');
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

async function connected(id: SiteId): Promise<ApiClient> {
  return until(`the start of ${id}`, 30_000, async () => {
    if (!existsSync(socketOf(id))) return undefined;
    const client = createApiClient(
      connectionOf({ server: `unix:${socketOf(id)}`, dataDir: at.site(id), caFile: join(at.site(id), 'tls', 'ca-bundle.pem') }, {}),
      { signal: new AbortController().signal, claimedBy: 'demo' },
    );
    await client.call(listEnvoys, { query: {} });
    return client;
  });
}

/** Everybody enrols at the hub, which routes each name to its spoke. */
async function enrol(client: ApiClient): Promise<number> {
  const missing = ENVOYS.filter((hostname) => !existsSync(join(at.envoy(hostname).config, 'envoy-id')));
  await Promise.all(
    missing.map(async (hostname) => {
      const { items } = await client.call(createTokens, { body: { pattern: hostname } });
      const { config, state } = at.envoy(hostname);
      const tokenFile = join(at.logs, `${hostname}.token`);
      writeFileSync(tokenFile, items[0]!.token, { mode: 0o600 });
      await runOnce('vigo', [
        ...['--config-dir', config, '--state-dir', state, '--api-addr', `https://localhost:${portsOf('hub').api}`],
        ...['register', '--token-file', tokenFile, '--hostname', hostname],
      ]);
      writeFileSync(tokenFile, '', { mode: 0o600 });
    }),
  );
  return missing.length;
}

function startEnvoys(): void {
  for (const hostname of ENVOYS) {
    const { config, state } = at.envoy(hostname);
    start(hostname, 'vigo', ['--config-dir', config, '--state-dir', state, 'daemon'], died);
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
  const runs = await client.call(listRuns, { query: { limit: 60 } });
  return items
    .filter(({ status }) => status === 'active')
    .sort((a, b) => (a.hostname < b.hostname ? -1 : 1))
    .map((envoy) => {
      const run = runs.items.find(({ hostname }) => hostname === envoy.hostname);
      const counts = run === undefined ? '–' : `${run.ok} ok, ${run.changed} changed, ${run.failed} failed`;
      return { ...envoy, resources: counts, last: run?.started_at?.slice(11, 19) ?? '–' };
    });
}

/** Until every envoy is converged, each at the spoke that `home` says. */
async function converge(client: ApiClient, table: LiveTable, what: string, home: (hostname: string) => string | undefined): Promise<void> {
  await until(what, CONVERGE_MS, async () => {
    const now = await rows(client);
    table.show(now);
    const atHome = ({ hostname, spoke, state, release }: Row) =>
      state === 'converged' && release > 0 && (home(hostname) ?? spoke) === spoke;
    return now.length === ENVOYS.length && now.every(atHome) ? true : undefined;
  });
}

/** Where everybody is now. */
async function homes(client: ApiClient): Promise<ReadonlyMap<string, string>> {
  return new Map((await rows(client)).map(({ hostname, spoke }) => [hostname, spoke]));
}

async function reassign(client: ApiClient, table: LiveTable): Promise<void> {
  const before = await homes(client);
  const from = before.get(MOVED_HOST);
  const to = SPOKES.find((id) => id !== from)!;
  say(`\nMoving ${MOVED_HOST} from ${from} to ${to} ...`);
  table.leave();
  await cli('hub', ['spanner', 'reassign', MOVED_HOST, '--to', to, '--wait']);
  await converge(client, table, 'the first run at the new spoke', (hostname) => (hostname === MOVED_HOST ? to : before.get(hostname)));
  say('Moved: the envoy kept its identity, its policy and its queue; only its owner changed.');
}

async function drainAndBack(client: ApiClient, table: LiveTable): Promise<void> {
  const before = await homes(client);
  say('\nDraining south ...');
  table.leave();
  await cli('hub', ['spanner', 'spoke', 'drain', 'south', '--to', 'north', '--max-rate', '10/s']);
  await converge(client, table, 'the drain of south', () => 'north');
  say('Drained: south owns nobody and holds no result. Taking it back ...');
  table.leave();
  await cli('hub', ['spanner', 'spoke', 'undrain', 'south', '--take-back']);
  await converge(client, table, 'the way back to south', (hostname) => before.get(hostname));
}

/** Edits a managed file behind the envoy's back; answers what the run that repaired it said. */
async function breakAndRepair(client: ApiClient, table: LiveTable): Promise<string> {
  const file = join(at.hosts, BROKEN_HOST, 'etc', 'motd');
  const wanted = readFileSync(file, 'utf8');
  writeFileSync(file, 'edited by hand\n');
  const begun = new Date().toISOString();
  say(`\nBroke ${file.replace(`${process.cwd()}/`, '')} on ${BROKEN_HOST} ...`);
  table.leave();
  await until('the repair', STEP_MS, async () => {
    table.show(await rows(client));
    return readFileSync(file, 'utf8') === wanted ? true : undefined;
  });
  return until('the report of the repair', STEP_MS, async () => {
    table.show(await rows(client));
    const { items } = await client.call(listRuns, { query: { limit: 60 } });
    const run = items.find(({ hostname, changed, started_at: at }) => hostname === BROKEN_HOST && changed > 0 && (at ?? '') >= begun);
    if (run === undefined) return undefined;
    const { outcomes } = await client.call(getRun, { params: { id: run.id } });
    const repaired = (outcomes ?? []).find(({ type, action }) => type === 'file' && action === 'updated');
    return repaired === undefined ? undefined : `${repaired.action} ${repaired.type}[${repaired.name}] on ${BROKEN_HOST}, run ${run.id}`;
  });
}

function hints(): string {
  const hub = cliPrefix('hub');
  return `
What to try next (the demo stays up; Ctrl-C ends it):
  ${hub} spanner status
  ${hub} envoys list
  ${hub} spanner reassign web1.north.local --to south --wait
  ${hub} spanner route web9.north.local
  ${hub} config trace web1.north.local
  ${cliPrefix('south')} envoys list                  what the spoke itself answers
  edit .vigo/demo/hub/stacks/modules/app.vgo, then: ${hub} config publish --yes
`;
}

async function demo(once: boolean): Promise<void> {
  const table = new LiveTable();
  await prepareHub();
  startServer('hub', died);
  const client = await connected('hub');
  const ports = portsOf('hub');
  say(`Hub:      https://localhost:${ports.api} (REST), localhost:${ports.rpc} (agents, spokes)`);
  const spokes = await Promise.all(
    SPOKES.map(async (id) => {
      await prepareSpoke(id);
      startServer(id, died);
      return connected(id);
    }),
  );
  for (const spoke of spokes) spoke.close();
  say(`Spokes:   ${SPOKES.map((id) => `${id} localhost:${portsOf(id).rpc}`).join(', ')}, linked to the hub`);
  say(`Policy:   ${await publish(client)}`);
  const enrolled = await enrol(client);
  say(`Envoys:   ${ENVOYS.length}${enrolled > 0 ? ' enrolled at the hub with one-time tokens, routed by name' : ' (enrolled before)'}`);
  startEnvoys();
  say('');
  await converge(client, table, 'convergence of all envoys', () => undefined);
  await reassign(client, table);
  await drainAndBack(client, table);
  const repair = await breakAndRepair(client, table);
  say(`\nDrift repaired: ${repair}`);
  if (once) {
    client.close();
    return;
  }
  say(hints());
  table.leave();
  while (!interrupted) {
    if (dead !== undefined) throw new Error(dead);
    table.show(await rows(client));
    await pause(500);
  }
  client.close();
}

const { values } = parseArgs({ options: { once: { type: 'boolean', default: false }, reset: { type: 'boolean', default: false } } });
if (values.reset) reset();
// whatever it was doing, what it started is stopped
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.on(signal, () => {
    interrupted = true;
  });
}
try {
  await demo(values.once);
  if (values.once) say('Converged, moved, drained, taken back and repaired.');
} catch (thrown) {
  process.stderr.write(`\nThe demo failed: ${messageOf(thrown)}\nLogs: .vigo/demo/logs. Start afresh with: npm start -- --reset\n`);
  process.exitCode = 1;
} finally {
  await stopAll();
}
