/** Accounts by kind and who is logged in. */

import type { TraitCollector } from './collector.ts';
import { fileText } from './sources.ts';

/** Accounts that distributions bring themselves. */
const KNOWN = new Set(
  `root daemon bin sys sync games man lp mail news uucp proxy www-data backup list irc gnats nobody adm shutdown halt operator ftp
   _apt messagebus systemd dbus polkitd polkituser sshd tss syslog uuidd tcpdump landscape pollinate rpc rpcuser nfsnobody chrony ntp
   avahi rtkit colord pulse geoclue gdm usbmux dnsmasq cups kernoops saned whoopsie speech-dispatcher hplip fwupd-refresh lxd
   unscd libstoragemgmt cockpit-ws sssd setroubleshoot at cron statd postdrop postmaster utmp http nut guest smmsp squid xfs`.split(/\s+/),
);
const NO_LOGIN = /\/(nologin|false|sync|halt|shutdown)$/;

export const users: TraitCollector = {
  name: 'users',
  refresh: 'volatile',
  async collect({ system, signal }) {
    const kinds = { human: [] as string[], os: [] as string[], thirdparty: [] as string[] };
    for (const line of ((await fileText(system, '/etc/passwd')) ?? '').split('\n')) {
      const [name, , id, , , , shell] = line.split(':');
      if (name === undefined || id === undefined || !/^\d+$/.test(id)) continue;
      const uid = Number(id);
      const isSystem = uid < 1000 || uid === 65534;
      if (!isSystem) {
        if (!NO_LOGIN.test(shell ?? '')) kinds.human.push(name);
      } else kinds[uid === 65534 || KNOWN.has(name) || name.startsWith('systemd-') ? 'os' : 'thirdparty'].push(name);
    }
    const sessions = (await system.hasCommand('who')) ? (await system.run(['who'], { okCodes: 'any', signal })).stdout : '';
    const present = sessions.split('\n').map((line) => line.split(/\s/)[0] ?? '');
    return {
      logged_in: [...new Set(present.filter((name) => name !== ''))].sort(),
      human: kinds.human.sort(),
      os: kinds.os.sort(),
      thirdparty: kinds.thirdparty.sort(),
    };
  },
};
