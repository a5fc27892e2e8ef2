/** Command texts that would damage or stop vigo (GUARD-4): a net for mistakes and plain attacks; the text of a shell cannot be decided in full. */
import type { ProtectedSet } from './protected.ts';
import { relationTo } from './protected-path.ts';

const WRITING = new Set(
  `rm rmdir unlink shred mv cp install ln link chmod chown chgrp chattr chcon setfacl tee dd truncate touch mkdir rsync tar unzip cpio sed ex ed vi vim patch
  mount umount curl wget sponge find del erase rd move copy xcopy robocopy icacls takeown remove-item ri move-item copy-item set-content add-content out-file
  clear-content rename-item new-item set-acl`.split(/\s+/),
);
const INTERPRETERS = /^(python[\d.]*|perl|ruby|node|php|awk|gawk|lua)$/;
const STOPPING = new Set(
  `stop disable mask kill unload bootout remove delete off purge uninstall erase revert edit set-property deconfigure quit -stop suspend pause`.split(
    /\s+/,
  ),
);
const SERVICE_TOOLS = new Set(
  `systemctl service rc-service rc-update rcctl launchctl svcadm svccfg sc sc.exe net net.exe update-rc.d chkconfig initctl invoke-rc.d sv runit`.split(
    /\s+/,
  ),
);
const SERVICE_CMDLETS = new Set(['stop-service', 'set-service', 'remove-service', 'suspend-service', 'disable-service']);
const PACKAGE_TOOLS = new Set(
  'apt apt-get aptitude dpkg yum dnf rpm zypper pacman apk brew pkg pkg_delete pkgin winget choco scoop msiexec'.split(' '),
);
const PACKAGE_REMOVAL = /^(remove|purge|autoremove|erase|del|delete|uninstall|-r|-e|-rns|-rs|-rn|--remove|--purge|--erase|rm|\/x)$/;
const KILLING = /(^|[\s;|&(`])(kill|pkill|killall|killall5|skill|taskkill|taskkill\.exe|stop-process|spps|xkill)(?=\s|$)/;

/** The text as a shell would join it: quotes and back-slashes of Unix gone, line continuations too. */
function unquoted(text: string): string {
  return text.replaceAll(/\\\r?\n/g, '').replaceAll(/["'`]|\\(?=[^\\/\s]*)/g, (match) => (match === '`' ? ' ; ' : ''));
}

function segmentsOf(text: string): string[][] {
  return text
    .split(/\$\(|&&|\|\||[;\n|&()]/)
    .map((segment) =>
      segment
        .replaceAll(/(\d*>>?\|?)/g, ' $1 ')
        .split(/[\s,=]+/)
        .filter((word) => word !== ''),
    )
    .filter((words) => words.length > 0);
}

function isPathLike(word: string): boolean {
  return /^(\/|[a-z]:[\\/]|%\w+%|\$env:|\\\\)/i.test(word);
}

function namesUnit(word: string, set: ProtectedSet): boolean {
  const name = word.toLowerCase().replace(/\.(service|exe|socket|timer)$/, '');
  return set.units.some((unit) => unit.toLowerCase() === name) || /^(system\/com\.vigo|vigo-?envoy|vigo[*?[])/.test(name);
}

function segmentFault(words: readonly string[], set: ProtectedSet, isInside: boolean): string | undefined {
  const lower = words.map((word) => word.toLowerCase());
  const verbs = lower.map((word) => word.slice(word.lastIndexOf('/') + 1));
  const writes = verbs.some((word) => WRITING.has(word)) || lower.some((word) => /^\d*>>?\|?$/.test(word));
  const recursive = lower.some(
    (word) => /^-[a-z]*r/.test(word) || word === '--recursive' || word === '/s' || word === '-recurse' || word === '-delete',
  );
  for (const word of words) {
    if (!isPathLike(word)) continue;
    const relation = relationTo(word, set);
    if (relation === 'inside' && (writes || verbs.some((verb) => INTERPRETERS.test(verb)))) return `writes to the protected path "${word}"`;
    if (relation === 'above' && recursive && verbs.some((verb) => WRITING.has(verb) && verb !== 'cp' && verb !== 'tar' && verb !== 'rsync'))
      return `acts on "${word}" with everything below, which holds a protected path`;
  }
  if (isInside && writes) return 'writes in a protected directory';
  const services = verbs.some((word) => SERVICE_TOOLS.has(word)) && lower.some((word) => STOPPING.has(word));
  if ((services || verbs.some((word) => SERVICE_CMDLETS.has(word))) && words.some((word) => namesUnit(word, set)))
    return 'stops or disables vigo';
  if (
    verbs.some((word) => PACKAGE_TOOLS.has(word)) &&
    lower.some((word) => PACKAGE_REMOVAL.test(word)) &&
    lower.some((word) => set.packages.includes(word))
  )
    return 'removes the package of vigo';
  if (
    verbs.some((word) => word === 'userdel' || word === 'deluser' || word === 'groupdel') &&
    lower.some((word) => set.accounts.includes(word))
  )
    return 'removes the account of vigo';
  return undefined;
}

/** Why the command is refused; undefined when nothing is seen. */
export function commandFault(command: string, set: ProtectedSet): string | undefined {
  for (const text of new Set([unquoted(command), command.replaceAll(/["']/g, '')])) {
    const segments = segmentsOf(text);
    const entered = segments.find(
      (words) => ['cd', 'pushd', 'chdir', 'set-location'].includes(words[0]!.toLowerCase()) && relationTo(words.at(-1)!, set) === 'inside',
    );
    for (const words of segments) {
      const fault = segmentFault(words, set, entered !== undefined && words !== entered);
      if (fault !== undefined) return fault;
    }
    for (const line of text.split('\n')) {
      const killed = set.processes.some((name) =>
        new RegExp(`(^|[^a-z0-9_.-])${escapeName(name)}(-envoy|\\.exe)?($|[^a-z0-9_./-])`, 'i').test(line),
      );
      if (KILLING.test(line.toLowerCase()) && killed) return 'kills vigo';
    }
    const interpreted = segments.flat().some((word) => INTERPRETERS.test(word.slice(word.lastIndexOf('/') + 1)));
    if (interpreted && [...text.matchAll(/(?:\/[\w.*?-]+)+/g)].some(([path]) => relationTo(path, set) === 'inside'))
      return 'reaches a protected path from a script';
  }
  return undefined;
}

/** Names of the set are ours, but may hold a dot. */
function escapeName(name: string): string {
  return name.replaceAll(/[^A-Za-z0-9_-]/g, '\\$&');
}
