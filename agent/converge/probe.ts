/** Live questions of conditions, asked of the machine when the resource is reached. */
import type { LocalTime, WhenProbe } from '../../core/when/facts.ts';
import { shellCommand } from '../executors/shell.ts';
import { backend } from '../platform/backend.ts';
import type { Machine } from '../system/machine.ts';

const COMMAND_MS = 10_000;
const LISTENING = '0A';

export function machineProbe({ system, platform }: Machine): WhenProbe {
  const commands = new Map<string, Promise<boolean>>();

  async function runsAs(pid: string, name: string): Promise<boolean> {
    const program = await system.readLink(`/proc/${pid}/exe`).catch(() => undefined); // gone, or a thread of the kernel
    if (program !== undefined)
      return (
        program
          .replace(/ \(deleted\)$/, '')
          .split('/')
          .at(-1) === name
      );
    const short = (await system.readFile(`/proc/${pid}/comm`).catch(() => undefined))?.toString('utf8').trim(); // gone meanwhile
    return short === name;
  }

  async function succeeds(text: string): Promise<boolean> {
    return (await system.run(shellCommand(text), { okCodes: 'any', timeoutMs: COMMAND_MS })).code === 0;
  }

  return {
    hasCommand: (name) => system.hasCommand(name),
    hasPackage: async (name) => (await backend(platform.packages, 'package manager').installed(name)) !== undefined,
    packageVersion: (name) => backend(platform.packages, 'package manager').installed(name),
    serviceRunning: async (name) => (await backend(platform.services, 'service manager').state(name))?.running ?? false,
    async processRunning(name) {
      for (const pid of await system.list('/proc')) if (/^\d+$/.test(pid) && (await runsAs(pid, name))) return true;
      return false;
    },
    async portListening(port) {
      const wanted = port.toString(16).toUpperCase().padStart(4, '0');
      const tables = await Promise.all(['/proc/net/tcp', '/proc/net/tcp6'].map((file) => system.readFile(file)));
      return tables.some((table) =>
        (table?.toString('utf8') ?? '').split('\n').some((line) => {
          const [, local, , state] = line.trim().split(/\s+/);
          return state === LISTENING && local?.split(':')[1] === wanted;
        }),
      );
    },
    async fileKind(path) {
      const kind = (await system.stat(await system.realPath(path)))?.kind;
      return kind === 'file' || kind === 'directory' || kind === undefined ? kind : 'other';
    },
    commandSucceeds(text) {
      let answer = commands.get(text);
      if (answer === undefined) {
        answer = succeeds(text);
        commands.set(text, answer);
      }
      return answer;
    },
  };
}

/** One clock reading for all conditions of a run. */
export function localTime(milliseconds: number): LocalTime {
  const now = new Date(milliseconds);
  return {
    hour: now.getHours(),
    minute: now.getMinutes(),
    weekday: now.getDay(),
    day: now.getDate(),
    daysInMonth: new Date(now.getFullYear(), now.getMonth() + 1, 0).getDate(),
  };
}
