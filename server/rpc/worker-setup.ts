/** What an accepting thread is given: memory, keys, limits, all from settings and identity. */
import { newTicketKeys } from '../../core/crypto/tls.ts';
import { splitListen } from '../addresses.ts';
import type { FleetIndex } from '../fleet/fleet-index.ts';
import type { ServerIdentity } from '../identity/server-identity.ts';
import type { Settings } from '../settings.ts';
import type { WorkerSetup } from './messages.ts';

export function workerSetup(settings: Settings, identity: ServerIdentity, fleet: FleetIndex, startedAt: number): WorkerSetup {
  const { host, port } = splitListen(settings.server.grpc_listen);
  const { checkin, limits } = settings;
  return {
    memory: fleet.memory,
    checkIn: {
      fleetId: identity.fleetId,
      siteId: identity.siteId,
      serverId: identity.serverId,
      epoch: identity.epoch,
      intervalMs: checkin.interval,
      jitterPct: checkin.jitter_pct,
      bundleMaxAgeMs: checkin.bundle_max_age,
      inlineLimit: limits.bundle_inline,
      traitsLimit: limits.traits_size,
      delegation: identity.delegation,
      keyId: identity.keyId,
    },
    startedAt,
    secretKey: identity.serverKey.secretKey,
    publicKey: identity.serverKey.publicKey,
    tls: { rootCa: identity.rootCa, ...identity.tls },
    ticketKeys: settings.server.tls.session_tickets ? newTicketKeys() : undefined,
    host,
    port,
    connection: { mode: checkin.connection, keepBelowMs: checkin.keep_below, keepMax: checkin.keep_max },
    limits: {
      messageBytes: limits.grpc_message,
      streams: limits.streams_per_connection,
      connections: limits.connections_total,
      connectionsPerAddress: limits.connections_per_ip,
      headerTimeoutMs: limits.header_timeout,
    },
  };
}
