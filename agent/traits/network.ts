/** Names and addresses. */
import type { Json } from '../../core/base/json.ts';
import type { System } from '../system/system.ts';
import type { TraitCollector } from './collector.ts';
import { fileText, fileValue } from './sources.ts';

interface Interface {
  readonly name: string;
  readonly mac: string;
  readonly mtu: number;
  readonly up: boolean;
  readonly ipv4: string[];
  readonly ipv6: string[];
}

interface IpLink {
  readonly ifname: string;
  readonly address?: string;
  readonly mtu?: number;
  readonly operstate?: string;
  readonly flags?: readonly string[];
  readonly addr_info?: readonly { readonly family: string; readonly local: string; readonly prefixlen: number; readonly scope: string }[];
}

/** Little-endian hex of /proc/net/route. */
function hexAddress(hex: string): string {
  return [6, 4, 2, 0].map((at) => Number.parseInt(hex.slice(at, at + 2), 16)).join('.');
}

async function defaultRoute(system: System): Promise<{ device: string; gateway: string } | undefined> {
  const rows = ((await fileText(system, '/proc/net/route')) ?? '')
    .split('\n')
    .slice(1)
    .map((line) => line.split('\t'));
  const routes = rows.filter(([, to, gateway, , , , , mask]) => to === '00000000' && mask === '00000000' && gateway !== '00000000');
  const [best] = routes.sort((a, b) => Number(a[6]) - Number(b[6]));
  return best === undefined ? undefined : { device: best[0]!, gateway: hexAddress(best[2]!) };
}

/** `ip` knows all; /sys and /proc know nearly all where it is missing. */
async function interfacesOf(system: System): Promise<Interface[]> {
  if (await system.hasCommand('ip')) {
    const links = JSON.parse((await system.run(['ip', '-json', 'address', 'show'])).stdout) as readonly IpLink[];
    return links.map(({ ifname, address, mtu, flags, addr_info }) => {
      const of = (family: string) =>
        (addr_info ?? []).filter((one) => one.family === family).map(({ local, prefixlen }) => `${local}/${prefixlen}`);
      return { name: ifname, mac: address ?? '', mtu: mtu ?? 0, up: flags?.includes('UP') ?? false, ipv4: of('inet'), ipv6: of('inet6') };
    });
  }
  const six = ((await fileText(system, '/proc/net/if_inet6')) ?? '').split('\n').map((line) => line.split(/\s+/));
  const found: Interface[] = [];
  for (const name of await system.list('/sys/class/net')) {
    const value = async (file: string) => (await fileValue(system, `/sys/class/net/${name}/${file}`)) ?? '';
    const ipv6 = six
      .filter((row) => row[5] === name)
      .map(([hex, , length]) => `${shorten((hex ?? '').match(/.{4}/g) ?? [])}/${Number.parseInt(length ?? '0', 16)}`);
    const flags = Number.parseInt(await value('flags'), 16);
    found.push({ name, mac: await value('address'), mtu: Number(await value('mtu')), up: (flags & 1) === 1, ipv4: [], ipv6 });
  }
  const primary = (await system.run(['hostname', '-I'], { okCodes: 'any' })).stdout.trim().split(/\s+/);
  const device = (await defaultRoute(system))?.device;
  const first = primary.find((one) => one.includes('.'));
  if (first !== undefined) found.find(({ name }) => name === device)?.ipv4.push(first);
  return found;
}

/** RFC 5952: no leading zeros, the longest run of zero groups becomes `::`. */
function shorten(groups: readonly string[]): string {
  const words = groups.map((group) => Number.parseInt(group, 16).toString(16));
  const text = words.join(':');
  const runs = [...text.matchAll(/(?:^|:)0(?::0)+(?=:|$)/g)].sort((a, b) => b[0].length - a[0].length);
  const longest = runs[0];
  if (longest === undefined) return text;
  const before = text.slice(0, longest.index);
  return `${before}::${text.slice(longest.index + longest[0].length).replace(/^:/, '')}`;
}

const isLoopback = ({ name }: Interface) => name === 'lo';
const bare = (address: string) => address.split('/')[0]!;
const isLinkLocal = (address: string) => /^fe[89ab][0-9a-f]:/i.test(address);

export const network: TraitCollector = {
  name: 'network',
  refresh: 'stable',
  async collect({ system, signal }) {
    const interfaces = (await interfacesOf(system)).filter((one) => !isLoopback(one));
    const route = await defaultRoute(system);
    const primary = interfaces.find(({ name }) => name === route?.device);
    const ordered = primary === undefined ? interfaces : [primary, ...interfaces.filter((one) => one !== primary)];
    const addresses = [...ordered.flatMap(({ ipv4 }) => ipv4), ...ordered.flatMap(({ ipv6 }) => ipv6)]
      .map(bare)
      .filter((one) => !isLinkLocal(one));
    const macs = ordered.map(({ mac }) => mac).filter((mac) => /^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i.test(mac) && mac !== '00:00:00:00:00:00');
    const hostname = (await system.run(['hostname'], { signal })).stdout.trim();
    const servers = [...((await fileText(system, '/etc/resolv.conf')) ?? '').matchAll(/^\s*nameserver\s+(\S+)/gm)].map(
      (found) => found[1]!,
    );
    return {
      hostname: hostname.split('.')[0] ?? hostname,
      fqdn: await fullName(system, hostname, addresses[0], signal),
      ip_addresses: [...new Set(addresses)],
      mac_addresses: [...new Set(macs)],
      interfaces: Object.fromEntries(interfaces.map(({ name, ...rest }): [string, Json] => [name, rest])),
      ...(route === undefined ? {} : { default_gateway: route.gateway }),
      dns_servers: servers,
    };
  },
};

/** Reverse look-up of the primary address; a slow or silent name server must not hold the run. */
async function fullName(system: System, hostname: string, address: string | undefined, signal: AbortSignal): Promise<string> {
  if (address === undefined || !(await system.hasCommand('getent'))) return hostname;
  try {
    const { code, stdout } = await system.run(['getent', 'hosts', address], { okCodes: 'any', timeoutMs: 2_000, signal });
    const name = code === 0 ? stdout.trim().split(/\s+/)[1] : undefined;
    return name?.includes('.') === true ? name : hostname;
  } catch {
    // too slow: the host name is what is left
    return hostname;
  }
}
