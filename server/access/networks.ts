/** Whether an address lies in one of some networks. */
import { BlockList, isIP } from 'node:net';

const LISTS = new WeakMap<readonly string[], BlockList>();

function listOf(networks: readonly string[]): BlockList {
  const known = LISTS.get(networks);
  if (known !== undefined) return known;
  const list = new BlockList();
  for (const network of networks) {
    const [address = '', prefix = ''] = network.split('/');
    list.addSubnet(address, Number(prefix), isIP(address) === 6 ? 'ipv6' : 'ipv4');
  }
  LISTS.set(networks, list);
  return list;
}

export function isInNetworks(address: string, networks: readonly string[]): boolean {
  const plain = address.startsWith('::ffff:') ? address.slice(7) : address;
  const family = isIP(plain);
  return family !== 0 && listOf(networks).check(plain, family === 6 ? 'ipv6' : 'ipv4');
}
