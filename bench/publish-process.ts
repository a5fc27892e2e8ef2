/** The real server with a real publisher on its data directory; publishes when asked and says how long each step took. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { systemClock } from '../core/base/clock.ts';
import { createLogger } from '../core/base/log.ts';
import { Redactor } from '../core/base/redaction.ts';
import { SYSTEM } from '../server/audit/record.ts';
import { Publisher } from '../server/publish/publisher.ts';
import { startServer } from '../server/server.ts';
import { readSettings } from '../server/settings.ts';
import { serve } from './child.ts';

const dataDir = process.argv[2]!;
const parsed = readSettings(readFileSync(join(dataDir, 'server.yaml'), 'utf8'), { file: 'server.yaml', hostname: 'localhost' });
if (!parsed.ok) throw new Error(JSON.stringify(parsed.problems));
const log = createLogger({ level: 'error', format: 'json' });
const server = await startServer({
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
const { parts } = server;
let steps: Record<string, number> = {};
let last = 0;
const publisher = new Publisher({
  paths: parts.paths,
  authority: parts.identity,
  store: parts.store,
  trail: parts.trail,
  secrets: parts.secrets,
  clock: systemClock,
  log,
  hostnames: () => [...parts.fleet.slots()].map((slot) => parts.fleet.hostname(slot)),
  onRelease: (release) => parts.releases.use(release),
  onStep: (step) => {
    const now = performance.now();
    steps[step] = Math.round(now - last);
    last = now;
  },
});
await publisher.start();

/** Every policy changes: the port is a variable of all entries. */
async function publish(port: number) {
  writeFileSync(join(parts.paths.stage, 'common.vgo'), `vars:\n  port: ${port}\n`);
  steps = {};
  const begun = performance.now();
  last = begun;
  const { status, findings, impact } = await publisher.publish({ author: 'bench', actor: SYSTEM });
  const ms = performance.now() - begun;
  if (status !== 'live') throw new Error(`not published: ${status} ${JSON.stringify(findings.slice(0, 3))}`);
  return { ms, steps, envoys: impact.envoys, entries: publisher.live?.entries.size ?? 0 };
}

process.once('SIGTERM', () => void publisher.stop().then(() => server.stop().then(() => process.exit(0))));
serve(async (question) => {
  if (question === 'delay') {
    const text = await parts.metrics.text();
    return { delayMs: Number(/vigo_event_loop_delay_seconds\{[^}]*quantile="max"[^}]*\} ([\d.e-]+)/.exec(text)?.[1] ?? 0) * 1000 };
  }
  return publish(Number(question));
});
process.send?.({ port: server.rpcPort });
