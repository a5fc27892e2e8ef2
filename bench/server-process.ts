/** The real server in a process of its own, with one release of one entry live; tells its port and, when asked, what it used. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { systemClock } from '../core/base/clock.ts';
import { canonicalBytes } from '../core/base/json.ts';
import { createLogger } from '../core/base/log.ts';
import { Redactor } from '../core/base/redaction.ts';
import { sha256Hex } from '../core/policy/bundle.ts';
import { startServer } from '../server/server.ts';
import { readSettings } from '../server/settings.ts';
import { serve, usageNow } from './child.ts';

const dataDir = process.argv[2]!;
const parsed = readSettings(readFileSync(join(dataDir, 'server.yaml'), 'utf8'), { file: 'server.yaml', hostname: 'localhost' });
if (!parsed.ok) throw new Error(JSON.stringify(parsed.problems));
const server = await startServer({
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
const body = canonicalBytes({
  schema: 1,
  release: 1,
  version: 'v',
  match: '*',
  entry: 'e#0',
  environment: null,
  roles: [],
  secrets_epoch: 0,
  secret_refs: [],
  module_count: 0,
  resource_count: 0,
  vars: {},
  vars_when: [],
  modules: [],
  templates: {},
  devices: [],
});
const policy = {
  entry: 'e#0',
  body,
  bodySha256: sha256Hex(body),
  policyHash: sha256Hex('policy'),
  secretsEpoch: 0,
  observe: false,
  moduleCount: 0,
  secretRefs: [],
};
await server.parts.releases.use({
  number: 1,
  version: 'v',
  root: sha256Hex('root'),
  entries: new Map([['e#0', policy]]),
  entryIdFor: () => 'e#0',
  environmentOf: () => null,
});

let delayMs = 0;
const collect = async () => {
  const text = await server.parts.metrics.text();
  const found = /vigo_event_loop_delay_seconds\{[^}]*quantile="p99"[^}]*\} ([\d.e-]+)/.exec(text);
  delayMs = Math.max(delayMs, Number(found?.[1] ?? 0) * 1000);
};
const watch = setInterval(() => void collect(), 1000);
process.once('SIGTERM', () => {
  clearInterval(watch);
  void server.stop().then(() => process.exit(0));
});
serve(() => ({ ...usageNow(), delayMs }));
process.send?.({ port: server.rpcPort });
