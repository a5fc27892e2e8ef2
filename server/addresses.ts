/** Addresses and names of a server, as its settings and its machine give them. */
import { isIP } from 'node:net';
import { networkInterfaces } from 'node:os';
import type { Settings } from './settings.ts';

/** `:1530` and `host:port`; an empty host means all addresses. */
export function splitListen(address: string): { readonly host: string; readonly port: number } {
  const colon = address.lastIndexOf(':');
  const host = address.slice(0, colon).replace(/^\[|\]$/g, '');
  return { host: host === '' ? '::' : host, port: Number(address.slice(colon + 1)) };
}

/** Names for the server certificate: hostname, localhost, interface addresses, `tls.sans` (server.md §2.2). */
export function certificateNames(settings: Settings): { readonly dns: readonly string[]; readonly ips: readonly string[] } {
  const names = [settings.server.hostname, 'localhost', ...settings.server.tls.sans];
  const addresses = Object.values(networkInterfaces()).flatMap((list) => (list ?? []).map(({ address }) => address.replace(/%.*$/, '')));
  return {
    dns: [...new Set(names.filter((name) => isIP(name) === 0))],
    ips: [...new Set([...names.filter((name) => isIP(name) !== 0), ...addresses, '127.0.0.1', '::1'])],
  };
}

/** What agents dial: with port 0 in the settings, the port that was taken. */
export function advertised(settings: Settings, rpcPort: number): string {
  const { advertise, grpc_listen: listen } = settings.server;
  return splitListen(listen).port === 0 ? `${settings.server.hostname}:${rpcPort}` : advertise;
}
