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
import { collectGarbage } from './collect-garbage.ts';
import { enrollAgent } from './enroll-agent.ts';

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
const policyFile = process.argv[3];
const empty = {
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
};
const body = policyFile === undefined ? canonicalBytes(empty) : readFileSync(policyFile);
const { entry } = JSON.parse(Buffer.from(body).toString('utf8')) as { entry: string };
const policy = {
  entry,
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
  entries: new Map([[entry, policy]]),
  entryIdFor: () => entry,
  environmentOf: () => null,
});

/** Of the last ten seconds, all accepting threads. */
async function longestDelayMs(): Promise<number> {
  const text = await server.parts.metrics.text();
  const found = /vigo_event_loop_delay_seconds\{[^}]*quantile="max"[^}]*\} ([\d.e-]+)/.exec(text);
  return Number(found?.[1] ?? 0) * 1000;
}

process.once('SIGTERM', () => void server.stop().then(() => process.exit(0)));
serve(async (question) => {
  if (question === 'delay') return { delayMs: await longestDelayMs() };
  if (question === 'collect') await collectGarbage();
  if (typeof question === 'object' && question !== null && 'enroll' in question)
    return enrollAgent(server, String(question.enroll), 'hostname' in question ? String(question.hostname) : 'host');
  return usageNow();
});
process.send?.({ port: server.rpcPort });
