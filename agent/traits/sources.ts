/** Where Linux tells things: small files as text, or nothing when they are not there or not readable. */
import type { System } from '../system/system.ts';

export async function fileText(system: System, path: string): Promise<string | undefined> {
  try {
    return (await system.readFile(path))?.toString('utf8');
  } catch {
    // not readable for this account, or a device that refuses: the same as not there
    return undefined;
  }
}

/** One value of a file, without the line end; undefined when missing or empty. */
export async function fileValue(system: System, path: string): Promise<string | undefined> {
  const text = (await fileText(system, path))?.trim();
  return text === '' ? undefined : text;
}

export interface MountLine {
  readonly path: string;
  readonly device: string;
  readonly fstype: string;
  readonly options: readonly string[];
}

/** File systems of the kernel itself, which hold no data of anybody. */
const PSEUDO = new Set(
  'autofs binfmt_misc bpf cgroup cgroup2 configfs debugfs devpts devtmpfs efivarfs fusectl hugetlbfs mqueue nsfs proc pstore ramfs rpc_pipefs securityfs selinuxfs sysfs tmpfs tracefs'.split(
    ' ',
  ),
);
const NETWORK = /^(nfs4?|cifs|smb3|smbfs|sshfs|fuse\.sshfs|ceph|glusterfs|fuse\.glusterfs|9p|afs)$/;

const plain = (field: string) => field.replace(/\\([0-7]{3})/g, (_, code: string) => String.fromCharCode(Number.parseInt(code, 8)));

/** Mounted file systems that hold data, the last mount of a path wins. */
export async function dataMounts(system: System): Promise<readonly MountLine[]> {
  const found = new Map<string, MountLine>();
  for (const line of ((await fileText(system, '/proc/self/mountinfo')) ?? '').split('\n')) {
    const [before, after] = line.split(' - ');
    if (before === undefined || after === undefined) continue;
    const [, , , , path, options] = before.split(' ');
    const [fstype, device] = after.split(' ');
    if (path === undefined || fstype === undefined || device === undefined || PSEUDO.has(fstype)) continue;
    found.set(plain(path), { path: plain(path), device: plain(device), fstype, options: (options ?? '').split(',') });
  }
  return [...found.values()].sort((a, b) => (a.path < b.path ? -1 : 1));
}

export function isNetworkMount({ fstype }: MountLine): boolean {
  return NETWORK.test(fstype);
}

/** Names to numbers of bytes. */
export async function memoryFacts(system: System): Promise<ReadonlyMap<string, number>> {
  const pairs = ((await fileText(system, '/proc/meminfo')) ?? '').split('\n').flatMap((line): [string, number][] => {
    const found = /^(\w+(?:\(\w+\))?):\s+(\d+)( kB)?$/.exec(line.trim());
    return found === null ? [] : [[found[1]!, Number(found[2]) * (found[3] === undefined ? 1 : 1024)]];
  });
  return new Map(pairs);
}

export function tenth(value: number): number {
  return Math.round(value * 10) / 10;
}
