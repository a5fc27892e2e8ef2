/** Distribution, release, kernel, architecture and packaging family. */
import type { System } from '../system/system.ts';
import type { TraitCollector } from './collector.ts';
import { fileText } from './sources.ts';

/** Packaging families by ID; a derivative is found through ID_LIKE. */
const FAMILIES: Readonly<Record<string, string>> = {
  debian: 'debian',
  ubuntu: 'debian',
  rhel: 'rhel',
  fedora: 'rhel',
  centos: 'rhel',
  suse: 'suse',
  opensuse: 'suse',
  sles: 'suse',
  arch: 'arch',
  archlinux: 'arch',
  gentoo: 'gentoo',
  slackware: 'slackware',
  alpine: 'alpine',
};

const ARCHITECTURES: Readonly<Record<string, string>> = {
  x86_64: 'amd64',
  aarch64: 'arm64',
  armv7l: 'arm',
  armv6l: 'arm',
  i686: '386',
  i386: '386',
  ppc64le: 'ppc64le',
  s390x: 's390x',
  riscv64: 'riscv64',
};

const own = (table: Readonly<Record<string, string>>, key: string) => (Object.hasOwn(table, key) ? table[key] : undefined);

/** Lines NAME=value of os-release(5), quotes taken off. */
export function parseRelease(text: string): ReadonlyMap<string, string> {
  const pairs = text.split('\n').flatMap((line): [string, string][] => {
    const found = /^([A-Z0-9_]+)=(.*)$/.exec(line.trim());
    return found === null ? [] : [[found[1]!, found[2]!.replace(/^(["'])(.*)\1$/, '$2').replace(/\\(.)/g, '$1')]];
  });
  return new Map(pairs);
}

async function uname(system: System, option: string): Promise<string> {
  return (await system.run(['uname', option])).stdout.trim();
}

export const os: TraitCollector = {
  name: 'os',
  refresh: 'stable',
  async collect({ system }) {
    const release = parseRelease((await fileText(system, '/etc/os-release')) ?? (await fileText(system, '/usr/lib/os-release')) ?? '');
    const id = release.get('ID') ?? 'linux';
    const like = (release.get('ID_LIKE') ?? '').split(' ').filter((word) => word !== '');
    const raw = await uname(system, '-m');
    const words = [id, ...like].map((word) => word.replace(/^opensuse.*/, 'opensuse'));
    return {
      family: words.map((word) => own(FAMILIES, word)).find((family) => family !== undefined) ?? id,
      distro: id,
      version: release.get('VERSION_ID') ?? '',
      kernel: await uname(system, '-r'),
      arch: own(ARCHITECTURES, raw) ?? raw,
      arch_raw: raw,
      upstream_id: own(FAMILIES, id) === undefined ? (release.has('UBUNTU_CODENAME') ? 'ubuntu' : (like[0] ?? id)) : id,
      upstream_codename: release.get('UBUNTU_CODENAME') ?? release.get('VERSION_CODENAME') ?? '',
    };
  },
};
