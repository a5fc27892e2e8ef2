/** Real sites of one fleet, without links between them: a hub that holds the root key, spokes whose keys it delegated, and machines with a real agent. */
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { agentPaths } from '../../agent/enroll/identity.ts';
import { Agent } from '../../agent/runtime.ts';
import { type AgentSettings, formatSettings, readSettings } from '../../agent/settings.ts';
import { type Clock, systemClock } from '../../core/base/clock.ts';
import { type EnvoyId, newId } from '../../core/base/ids.ts';
import { createServerCertificate, createSiteCa } from '../../core/crypto/certificate.ts';
import { DELEGATION_SCOPES, type Delegation, type SignedRecord, SPOKE_SCOPES, signDelegation } from '../../core/crypto/delegation.ts';
import { newSigningKey, type SigningKey } from '../../core/crypto/ed25519.ts';
import { privateKeyPem, readKeyFile, readSigningKey, writeFileDurably, writeKeyFile } from '../../core/crypto/key-file.ts';
import { type Grant, type SignedGrant, signGrant } from '../../core/policy/ownership.ts';
import { dataPaths } from '../../server/identity/paths.ts';
import { type QuietLog, quietLog } from '../fakes/quiet-log.ts';
import { TestSite } from './test-site.ts';

const DAY_MS = 86_400_000;
const LISTEN = { grpc_listen: '127.0.0.1:0', api_listen: '127.0.0.1:0' };

export interface Machine {
  readonly envoyId: EnvoyId;
  readonly log: QuietLog;
  readonly settings: AgentSettings;
  /** a new process of the agent */
  open(clock?: Clock): Agent;
}

export function delegate(
  root: SigningKey,
  publicKey: Uint8Array,
  more: Pick<Delegation, 'fleet_id' | 'site_id' | 'server_id' | 'scopes'>,
): SignedRecord {
  const now = Date.now();
  return signDelegation(root, {
    ...more,
    public_key: Buffer.from(publicKey).toString('base64'),
    epoch: 1,
    may_promote: true,
    not_before: now - DAY_MS,
    not_after: now + 30 * DAY_MS,
    serial: newId(now),
  });
}

export class FleetOfSites {
  /** what the servers of the spokes say */
  readonly log = quietLog();
  readonly hub = new TestSite();
  readonly #spokes: TestSite[] = [];
  readonly #agents: Agent[] = [];

  async start(): Promise<void> {
    await this.hub.init({ server: { ...LISTEN, site_id: 'hub' } });
    await this.hub.start();
  }

  get root(): SigningKey {
    return readSigningKey(join(dataPaths(this.hub.dataDir).keys, 'root.key'));
  }

  /** A site with a CA and a server key of its own that the hub's root vouches for. */
  async spoke(siteId: string): Promise<TestSite> {
    const site = new TestSite(systemClock, this.log);
    this.#spokes.push(site);
    await site.init({ server: { ...LISTEN, site_id: siteId } });
    const [hub, own] = [dataPaths(this.hub.dataDir), dataPaths(site.dataDir)];
    const now = Date.now();
    const fleet = JSON.parse(readFileSync(join(own.keys, 'fleet.json'), 'utf8')) as { server_id: string };
    const { fleet_id, root_public_key } = JSON.parse(readFileSync(join(hub.keys, 'fleet.json'), 'utf8')) as Record<string, string>;
    const rootCa = {
      certificate: readFileSync(join(hub.tls, 'root-ca.pem'), 'utf8'),
      privateKey: readKeyFile(join(hub.tls, 'root-ca.key')),
    };
    const siteCa = await createSiteCa(rootCa, siteId, now);
    const names = { fleetId: fleet_id!, serverId: fleet.server_id, dns: ['localhost'], ips: ['127.0.0.1'] };
    const certificate = await createServerCertificate(siteCa, names, 30, now);
    const serverKey = newSigningKey();
    const ids = { fleet_id: fleet_id!, site_id: siteId, server_id: fleet.server_id };
    const delegation = delegate(this.root, serverKey.publicKey, { ...ids, scopes: [...SPOKE_SCOPES] });
    writeFileDurably(
      join(own.keys, 'fleet.json'),
      JSON.stringify({ ...fleet, fleet_id, site_id: siteId, root_public_key, delegation }),
      0o640,
    );
    writeKeyFile(join(own.keys, 'server.key'), privateKeyPem('ed25519', serverKey.secretKey.subarray(0, 32)));
    writeKeyFile(join(own.tls, 'site-ca.key'), siteCa.privateKey);
    writeKeyFile(join(own.tls, 'server.key'), certificate.privateKey);
    writeFileDurably(join(own.tls, 'site-ca.pem'), siteCa.certificate, 0o644);
    writeFileDurably(join(own.tls, 'server.pem'), certificate.certificate, 0o644);
    for (const name of ['root-ca.pem', 'ca-bundle.pem']) writeFileDurably(join(own.tls, name), rootCa.certificate, 0o644);
    for (const file of [join(own.keys, 'root.key'), join(own.tls, 'root-ca.key')]) rmSync(file);
    await site.start();
    return site;
  }

  /** A grant as the hub gives it, or with another signature. */
  grant(envoyId: string, to: TestSite, ownerEpoch: number, more: Partial<Grant> = {}, signer = this.signer(this.hub)): SignedGrant {
    const { identity } = this.hub.server.parts;
    return signGrant(signer, {
      fleet_id: identity.fleetId,
      envoy_id: envoyId,
      site_id: to.server.parts.identity.siteId,
      owner_epoch: ownerEpoch,
      servers: [`localhost:${to.server.rpcPort}`],
      fallback_servers: [`localhost:${this.hub.server.rpcPort}`],
      api_url: 'https://localhost:1',
      issued_at: Date.now(),
      ...more,
    });
  }

  signer(site: TestSite): { readonly serverKey: SigningKey; readonly delegation: SignedRecord } {
    const { serverKey, delegation } = site.server.parts.identity;
    return { serverKey, delegation };
  }

  /** A server key with the scopes of a hub under another root. */
  stranger(fleetId = this.hub.server.parts.identity.fleetId, root: SigningKey = newSigningKey()): ReturnType<FleetOfSites['signer']> {
    const serverKey = newSigningKey();
    const ids = { fleet_id: fleetId, site_id: 'hub', server_id: newId(Date.now()) };
    return { serverKey, delegation: delegate(root, serverKey.publicKey, { ...ids, scopes: [...DELEGATION_SCOPES] }) };
  }

  /** All phases of a move, as a hub orders them. */
  async move(envoyId: EnvoyId, from: TestSite, to: TestSite, ownerEpoch: number, more: Partial<Grant> = {}): Promise<SignedGrant> {
    const [source, target] = [from.server.parts.ownership, to.server.parts.ownership];
    await target.prepare(await source.export(envoyId), ownerEpoch);
    const grant = this.grant(envoyId, to, ownerEpoch, more);
    await target.activate(envoyId, grant);
    await target.late(envoyId, await source.depart(envoyId, grant));
    return grant;
  }

  /** Enrols at a site; the files are those that `vigo register` writes. */
  async machine(site: TestSite, hostname: string, fallbacks: readonly string[] = [], apiAddr = 'https://localhost:1'): Promise<Machine> {
    const { request, configDir } = await site.request(hostname, hostname, await site.token(hostname));
    const result = await site.server.parts.enrollment.enroll(request, '127.0.0.1');
    if (result.status !== 'enrolled') throw new Error('not enrolled');
    const { reply } = result;
    const paths = agentPaths(configDir);
    writeFileSync(paths.tlsCertificate, reply.certificate);
    writeFileSync(paths.caBundle, reply.ca_bundle);
    writeFileSync(paths.rootKey, reply.root_public_key);
    writeFileSync(paths.envoyId, reply.envoy_id);
    const server = `localhost:${site.server.rpcPort}`;
    const { site_id, fleet_id } = reply;
    writeFileSync(
      paths.config,
      formatSettings({ server, api_addr: apiAddr, hostname, site_id, fleet_id, fallback_servers: fallbacks.join(', ') }),
    );
    const log = quietLog();
    const settings = readSettings({}, { configDir, stateDir: join(site.dir, `${hostname}-state`) });
    const open = (clock = systemClock) => {
      const agent = new Agent({ settings, clock, log });
      this.#agents.push(agent);
      return agent;
    };
    return { envoyId: reply.envoy_id as EnvoyId, log, settings, open };
  }

  async close(): Promise<void> {
    for (const agent of this.#agents) await agent.close();
    for (const site of [...this.#spokes, this.hub]) await site.close();
  }
}
