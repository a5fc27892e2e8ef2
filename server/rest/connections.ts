/** Connections of the HTTPS door: how long one may keep the server waiting, and how many an address may hold (server.md §2.17). */
import type { Server } from 'node:https';
import type { Socket } from 'node:net';
import { isLoopback } from '../access/rate-limit.ts';

interface ConnectionLimits {
  readonly header_timeout: number;
  readonly connections_total: number;
  readonly connections_per_ip: number;
}

/** Options of the server: a handshake has as long as a header, and late ones are looked for every second instead of every thirty. */
export function patience({ header_timeout }: Pick<ConnectionLimits, 'header_timeout'>) {
  return { handshakeTimeout: header_timeout, connectionsCheckingInterval: Math.min(1000, header_timeout) };
}

/** Counts before the handshake, which is what costs; loopback is exempt. */
export function limitConnections(server: Server, limits: ConnectionLimits): void {
  server.headersTimeout = limits.header_timeout;
  server.maxConnections = limits.connections_total;
  const held = new Map<string, number>();
  server.prependListener('connection', (socket: Socket) => {
    const address = socket.remoteAddress;
    if (address === undefined || isLoopback(address)) return;
    const count = (held.get(address) ?? 0) + 1;
    held.set(address, count);
    socket.once('close', () => {
      const left = (held.get(address) ?? 1) - 1;
      if (left <= 0) held.delete(address);
      else held.set(address, left);
    });
    if (count > limits.connections_per_ip) socket.destroy();
  });
}
