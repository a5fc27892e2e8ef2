/** A hub whose RPC port is real, in this process, and spokes that join it and dial it with keys of their own. */
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { JoinReply, JoinRequest } from '../../core/api/spanner-join.ts';
import { systemClock } from '../../core/base/clock.ts';
import { canonicalBytes, type JsonObject } from '../../core/base/json.ts';
import { signFor } from '../../core/crypto/domain.ts';
import { Joins, mintJoinToken } from '../../hub/join.ts';
import { HubLinks } from '../../hub/links.ts';
import { newSite, SiteRegistry } from '../../hub/sites.ts';
import { Spokes } from '../../hub/spokes.ts';
import { HubTrust } from '../../hub/trust.ts';
import { parseJoinToken } from '../../server/identity/join-token.ts';
import { type DataPaths, dataPaths } from '../../server/identity/paths.ts';
import { Revocations } from '../../server/identity/revocations.ts';
import { openIdentity, type ServerIdentity } from '../../server/identity/server-identity.ts';
import { keepJoined, makeSpokeKeys, spokeRequest } from '../../server/identity/spoke-keys.ts';
import type { ServerParts } from '../../server/parts.ts';
import { readSettings } from '../../server/settings.ts';
import type { Answer, LinkSession } from '../../server/spanner/link.ts';
import { partyOf } from '../../server/spanner/party.ts';
import { HubLink, type HubLinkParts } from '../../spoke/hub-link.ts';
import { quietLog } from '../fakes/quiet-log.ts';
import { TestSite } from './test-site.ts';

export interface TestHub {
  readonly site: TestSite;
  readonly parts: ServerParts;
  readonly sites: SiteRegistry;
  readonly joins: Joins;
  readonly links: HubLinks;
  readonly spokes: Spokes;
  readonly trust: HubTrust;
  /** what happens with each fresh link; nothing unless a test says so */
  exchange: (session: LinkSession) => Promise<void>;
  readonly address: string;
  /** what the welcome adds; may throw */
  welcome: (siteId: string) => Promise<JsonObject>;
  close(): Promise<void>;
}

export async function makeHub(answers: readonly Answer[], heartbeatMs = 200): Promise<TestHub> {
  const site = new TestSite();
  await site.init({ spanner: { role: 'hub', heartbeat: `${heartbeatMs}ms` } });
  await site.start();
  const { parts } = site.server;
  const sites = await SiteRegistry.open(parts.store.sites, parts.settings.spanner, systemClock);
  const all = [...answers];
  const trust: HubTrust = new HubTrust(parts, sites, (siteId, reason) => hub.links.drop(siteId, reason));
  const hub: TestHub = {
    spokes: new Spokes(parts, sites, (siteId) => hub.links.drop(siteId, 'removed')),
    exchange: () => Promise.resolve(),
    site,
    parts,
    sites,
    trust,
    joins: new Joins(parts, sites),
    links: new HubLinks({
      server: parts,
      sites,
      party: partyOf(parts),
      answers: all,
      welcome: (siteId) => hub.welcome(siteId),
      certificate: () => parts.tls().certificateChain,
    }),
    address: `localhost:${site.server.rpcPort}`,
    welcome: () => Promise.resolve({}),
    close: async () => {
      hub.links.stop();
      await site.close();
    },
  };
  for (const answer of trust.answers) all.push(answer);
  sites.onSession((session) => hub.exchange(session));
  hub.links.start();
  return hub;
}

/** A join token for a spoke that is added with it. */
export async function tokenFor(hub: TestHub, id: string, ttlMs = 60_000): Promise<string> {
  const { token, hash, expiresAt } = mintJoinToken(hub.parts, id, ttlMs);
  await hub.sites.add({ ...newSite(id, 'database', Date.now()), join: { hash, expiresAt, spentAt: 0, answer: '' } });
  return token;
}

export interface SpokeKeys {
  readonly identity: ServerIdentity;
  readonly revocations: Revocations;
  readonly paths: DataPaths;
}

/** The request of a spoke with fresh keys, or with those of `dir`. */
export async function joinRequest(token: string, dir = mkdtempSync(join(tmpdir(), 'vigo-spoke-'))): Promise<JoinRequest & { dir: string }> {
  const paths = dataPaths(dir);
  await makeSpokeKeys(paths);
  const { serverKey, caRequest } = await spokeRequest(paths);
  const { spokeId, secret } = parseJoinToken(token);
  const unsigned = {
    spoke_id: spokeId,
    secret,
    server_key: Buffer.from(serverKey.publicKey).toString('base64'),
    ca_csr: caRequest,
    version: 'test',
  };
  const proof = signFor('link', serverKey, canonicalBytes(unsigned)).toString('base64');
  return Object.defineProperty({ ...unsigned, proof } as JoinRequest & { dir: string }, 'dir', { value: dir, enumerable: false });
}

export async function identityOf(dir: string, reply: JoinReply): Promise<SpokeKeys> {
  const paths = dataPaths(dir);
  keepJoined(paths, reply);
  const names = { dns: ['localhost'], ips: ['127.0.0.1'] };
  const identity = await openIdentity(paths, { names, certDays: 30, now: Date.now() });
  return { identity, revocations: new Revocations(paths, identity), paths };
}

/** Added, joined, with its keys in a directory of its own. */
export async function joinedSpoke(hub: TestHub, id: string): Promise<SpokeKeys> {
  const request = await joinRequest(await tokenFor(hub, id));
  return identityOf(request.dir, await hub.joins.join(request, '127.0.0.1'));
}

/** The dialling side of a spoke; not started. */
export function dialler(
  address: string,
  spoke: SpokeKeys,
  more: Partial<Pick<HubLinkParts, 'answers' | 'heartbeat' | 'revoked' | 'up' | 'welcomed'>> = {},
  heartbeatMs = 200,
): HubLink {
  const id = spoke.identity.siteId;
  const read = readSettings(
    `server: { hostname: localhost }\nspanner: { role: spoke, spoke_id: ${id}, hub_addr: "${address}", heartbeat: ${heartbeatMs}ms }\n`,
    { file: 'server.yaml', hostname: 'localhost' },
  );
  if (!read.ok) throw new Error(JSON.stringify(read.problems));
  return new HubLink({
    server: { clock: systemClock, identity: spoke.identity, log: quietLog(), settings: read.settings },
    party: partyOf(spoke),
    answers: [],
    tls: () => spoke.identity.tls,
    facts: () => ({ api_url: 'https://localhost:1', advertise: 'localhost:1' }),
    heartbeat: () => ({ envoys: 0 }),
    welcomed: () => undefined,
    up: () => undefined,
    revoked: () => undefined,
    ...more,
  });
}
