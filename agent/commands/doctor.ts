import { lookup } from 'node:dns/promises';
import { join } from 'node:path';
import { connect } from 'node:tls';
import { z } from 'zod';
import { CodedError, messageOf } from '../../core/base/errors.ts';
import { escapeCell, formatJson, paint } from '../../core/command/output.ts';
import { clientOptions } from '../../core/crypto/tls.ts';
import { type AgentIdentity, agentPaths, openIdentity, readEnvoyId } from '../enroll/identity.ts';
import { knownServers } from '../link/home.ts';
import type { AgentSettings } from '../settings.ts';
import { openStateStore } from '../state/lmdb-state-store.ts';
import { LocalSystem } from '../system/local-system.ts';
import type { System } from '../system/system.ts';
import { agentCommand, requireRoot, settingsOf } from './globals.ts';

interface Check {
  readonly subject: string;
  readonly level: 'ok' | 'warn' | 'fail';
  readonly detail: string;
  readonly hint?: string;
}

const CONNECT_MS = 5_000;
const MIN_FREE = 0.05;
const COLORS = { ok: 'green', warn: 'yellow', fail: 'red' } as const;

export const doctor = agentCommand({
  name: ['doctor'],
  summary: 'checks clock, names, TLS to every server, key permissions, store and disk',
  details: 'Exit code: 0 nothing fails, 1 something fails, 5 no server can be reached, 6 keys are open to others.',
  flags: z.object({}),
  async run({ globals }, io) {
    requireRoot(globals, 'doctor');
    const settings = settingsOf(globals);
    const system = new LocalSystem();
    const keys = await keyChecks(settings, system);
    const identity = identityCheck(settings);
    const { checks: stored, servers, skewMs } = await storeChecks(settings, system);
    const connections = await Promise.all(servers.map((server) => serverCheck(server, identity.identity)));
    const checks = [clockCheck(skewMs), ...connections.flat(), identity.check, ...keys, ...stored, await diskCheck(settings, system)];
    const options = { form: 'table', color: io.stdoutIsTerminal && !globals.noColor, quiet: false, utc: false } as const;
    if (globals.json) io.out(formatJson(checks));
    else for (const check of checks) io.out(lineOf(check, (text) => paint(text, COLORS[check.level], options)));
    if (keys.some(({ level }) => level === 'fail')) return 6;
    const reached = connections.some((all) => all.every(({ level }) => level !== 'fail'));
    if (servers.length > 0 && !reached) return 5;
    return checks.some(({ level }) => level === 'fail') ? 1 : 0;
  },
});

function lineOf({ level, subject, detail, hint }: Check, color: (text: string) => string): string {
  return `${color(level.padEnd(4))}  ${escapeCell(subject)}: ${escapeCell(detail)}${hint === undefined ? '' : ` (${escapeCell(hint)})`}\n`;
}

function clockCheck(skewMs: number): Check {
  if (skewMs === 0) return { subject: 'clock', level: 'ok', detail: 'no skew was seen at the last check-in' };
  return {
    subject: 'clock',
    level: 'warn',
    detail: `${Math.round(skewMs / 1_000)} s away from the server`,
    hint: 'is a time service running?',
  };
}

function identityCheck({ configDir, fleet_id, site_id, hostname }: AgentSettings): { check: Check; identity: AgentIdentity | undefined } {
  try {
    const identity = openIdentity(configDir, { fleetId: fleet_id, siteId: site_id, hostname: hostname ?? '' });
    return { identity, check: { subject: 'identity', level: 'ok', detail: `envoy ${identity.envoyId}` } };
  } catch (thrown) {
    const hint = thrown instanceof CodedError ? thrown.hint : undefined;
    return {
      identity: undefined,
      check: { subject: 'identity', level: 'fail', detail: messageOf(thrown), ...(hint === undefined ? {} : { hint }) },
    };
  }
}

async function storeChecks(
  settings: AgentSettings,
  system: System,
): Promise<{ checks: Check[]; servers: readonly string[]; skewMs: number }> {
  const folder = join(settings.stateDir, 'state');
  const own = [...new Set([settings.server, ...settings.fallback_servers])];
  if ((await system.stat(join(folder, 'data.mdb'))) === undefined)
    return { checks: [{ subject: 'store', level: 'warn', detail: `${folder} is empty: no run yet` }], servers: own, skewMs: 0 };
  try {
    const state = openStateStore(folder);
    try {
      const enrolled = { envoyId: readEnvoyId(settings.configDir) ?? '', siteId: settings.site_id, ownerEpoch: settings.owner_epoch };
      const servers = knownServers(state, enrolled, settings);
      const pending = state.results.count();
      const check: Check = { subject: 'store', level: pending > 500 ? 'warn' : 'ok', detail: `${pending} results wait to be sent` };
      return { checks: [check], servers, skewMs: Math.abs(state.facts.get('clockSkewMs') ?? 0) };
    } finally {
      await state.close();
    }
  } catch (thrown) {
    const hint = thrown instanceof CodedError ? thrown.hint : undefined;
    const check: Check = { subject: 'store', level: 'fail', detail: messageOf(thrown), ...(hint === undefined ? {} : { hint }) };
    return { checks: [check], servers: own, skewMs: 0 };
  }
}

async function keyChecks({ configDir }: AgentSettings, system: System): Promise<Check[]> {
  const { identityKey, sealingKey, tlsKey } = agentPaths(configDir);
  const checks: Check[] = [];
  for (const path of [configDir, identityKey, sealingKey, tlsKey]) {
    const stat = await system.stat(path);
    if (stat === undefined) checks.push({ subject: path, level: 'warn', detail: 'is not there', hint: 'the machine is not enrolled' });
    else if ((stat.mode & 0o077) === 0) checks.push({ subject: path, level: 'ok', detail: 'only its owner can read it' });
    else checks.push({ subject: path, level: 'fail', detail: `has mode ${stat.mode.toString(8)}`, hint: `chmod go= ${path}` });
  }
  return checks;
}

async function diskCheck({ stateDir }: AgentSettings, system: System): Promise<Check> {
  try {
    const { free, total } = await system.space(stateDir);
    const level = free / total < MIN_FREE ? 'warn' : 'ok';
    return { subject: 'disk', level, detail: `${Math.floor(free / 1024 ** 2)} MiB free below ${stateDir}` };
  } catch (thrown) {
    return { subject: 'disk', level: 'fail', detail: messageOf(thrown) };
  }
}

async function serverCheck(server: string, identity: AgentIdentity | undefined): Promise<Check[]> {
  const at = server.lastIndexOf(':');
  const host = server.slice(0, at).replace(/^\[|\]$/g, '');
  const port = Number(server.slice(at + 1));
  try {
    await lookup(host);
  } catch (thrown) {
    return [
      { subject: server, level: 'fail', detail: `the name cannot be resolved: ${messageOf(thrown)}`, hint: 'look at the name service' },
    ];
  }
  const name: Check = { subject: host, level: 'ok', detail: 'the name is known' };
  if (identity === undefined) return [name];
  return [name, await tlsCheck(server, host, port, identity)];
}

function tlsCheck(server: string, host: string, port: number, identity: AgentIdentity): Promise<Check> {
  return new Promise((resolve) => {
    const options = clientOptions(identity.caBundle, identity.tls);
    const socket = connect({
      ...options,
      host,
      port,
      servername: /^[\d.]+$|:/.test(host) ? '' : host,
      ALPNProtocols: ['h2'],
      timeout: CONNECT_MS,
    });
    const end = (check: Omit<Check, 'subject'>) => {
      socket.destroy();
      resolve({ subject: server, ...check });
    };
    socket.once('secureConnect', () => end({ level: 'ok', detail: `${socket.getProtocol()} with a certificate of the fleet` }));
    socket.once('timeout', () =>
      end({ level: 'fail', detail: `no answer within ${CONNECT_MS / 1_000} s`, hint: 'is a firewall in between?' }),
    );
    socket.once('error', (error) => end({ level: 'fail', detail: messageOf(error) }));
  });
}
