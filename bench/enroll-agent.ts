/** Enrols a real agent: its config directory as `vigo register` leaves it. */
import { writeFileSync } from 'node:fs';
import { agentPaths, enrollKeys } from '../agent/enroll/identity.ts';
import { formatSettings } from '../agent/settings.ts';
import type { EnrollRequest } from '../core/api/enroll.ts';
import { canonicalBytes } from '../core/base/json.ts';
import { signFor } from '../core/crypto/domain.ts';
import type { RunningServer } from '../server/server.ts';

export async function enrollAgent(server: RunningServer, configDir: string, hostname: string): Promise<{ readonly envoyId: string }> {
  const keys = await enrollKeys(configDir);
  const { parts, rpcPort } = server;
  const { token } = await parts.tokens.create({ pattern: hostname, ttlMs: 60_000 }, { kind: 'system', id: 'bench', name: 'bench' });
  const unsigned = {
    token,
    hostname,
    csr: keys.csr,
    identity_key: Buffer.from(keys.signingKey.publicKey).toString('base64'),
    sealing_key: Buffer.from(keys.sealingKey.publicKey).toString('base64'),
    platform: 'linux/x64',
    agent_version: '0',
    timestamp_ms: Date.now(),
  };
  const request: EnrollRequest = { ...unsigned, proof: signFor('enroll', keys.signingKey, canonicalBytes(unsigned)).toString('base64') };
  const result = await parts.enrollment.enroll(request, '127.0.0.1');
  if (result.status !== 'enrolled') throw new Error(`${hostname} was not enrolled: ${result.status}`);
  const { reply } = result;
  const paths = agentPaths(configDir);
  writeFileSync(paths.tlsCertificate, reply.certificate, { mode: 0o600 });
  writeFileSync(paths.caBundle, reply.ca_bundle);
  writeFileSync(paths.rootKey, `${reply.root_public_key}\n`);
  writeFileSync(paths.envoyId, `${reply.envoy_id}\n`);
  const settings = {
    server: `localhost:${rpcPort}`,
    hostname,
    site_id: reply.site_id,
    fleet_id: reply.fleet_id,
    log_level: 'warn',
  };
  writeFileSync(paths.config, formatSettings(settings), { mode: 0o600 });
  return { envoyId: reply.envoy_id };
}
