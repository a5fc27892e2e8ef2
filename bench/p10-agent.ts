/** P10: a real `vigo daemon`, from sources and as the one executable: memory, and the CPU of cycles that change nothing. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { canonicalBytes } from '../core/base/json.ts';
import { buildExecutable } from '../deploy/sea/build.ts';
import { policyFrom } from '../test/harness/policy.ts';
import { Child } from './child.ts';
import { type Bench, type BenchContext, type Figure, median, pause } from './measure.ts';
import { makeSite } from './site.ts';

const RESOURCES = 50;
const TICKS_A_SECOND = 100;

interface Sample {
  readonly rssMb: number;
  readonly anonMb: number;
  /** its own and that of the commands it has run */
  readonly cpuMs: number;
}

function sample(pid: number): Sample {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    .replace(/^.*\) /s, '')
    .split(' ');
  const kilobytes = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(status)?.[1] ?? 0);
  const ticks = [11, 12, 13, 14].reduce((sum, index) => sum + Number(stat[index]), 0);
  return { rssMb: kilobytes('VmRSS') / 1024, anonMb: kilobytes('RssAnon') / 1024, cpuMs: (ticks * 1000) / TICKS_A_SECOND };
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, 'exit');
  child.kill('SIGTERM');
  await ended;
}

/** Half files with content, the rest directories and links, all below one folder. */
function policy(folder: string): Buffer {
  const resources = Array.from({ length: RESOURCES }, (_, i) => {
    const at = `target_path: ${join(folder, `r${i}`)}`;
    if (i % 4 === 0) return `- { name: r${i}, type: directory, ${at}, mode: "0755" }\n`;
    if (i % 4 === 1) return `- { name: r${i}, type: symlink, ${at}, to: ${folder} }\n`;
    return `- name: r${i}\n  type: file\n  ${at}\n  mode: "0644"\n  content: "number ${i} of {{ .Envoy.hostname }}\\n"\n`;
  });
  const { body, errors } = policyFrom({ bench: `resources:\n${resources.join('')}` });
  if (errors.length > 0) throw new Error(JSON.stringify(errors));
  return canonicalBytes(body);
}

interface Agent {
  readonly label: 'sources' | 'executable';
  readonly program: string;
  readonly args: readonly string[];
}

/** An idle process with the agent's packages loaded: what the libraries weigh without vigo. */
async function floorOf(agent: Agent, entry: string): Promise<Sample> {
  const child = agent.label === 'sources' ? spawn(process.execPath, [entry]) : spawn(agent.program, []);
  try {
    await once(child.stdout!, 'data');
    await pause(1_000);
    return sample(child.pid!);
  } finally {
    await stop(child);
  }
}

async function measure(agent: Agent, dir: string, server: Child, { quick }: BenchContext) {
  const configDir = join(dir, agent.label, 'config');
  await server.ask({ enroll: configDir, hostname: `${agent.label}.example.com` });
  const stateDir = join(dir, agent.label, 'state');
  mkdirSync(stateDir, { recursive: true });
  const child = spawn(agent.program, [...agent.args, 'daemon', '--config-dir', configDir, '--state-dir', stateDir], {
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  try {
    const pid = child.pid!;
    await pause(4_000);
    // a hang-up begins a cycle at once: the first converge, the next change nothing
    const cycles: number[] = [];
    for (let cycle = 0; cycle < (quick ? 6 : 14); cycle++) {
      const before = sample(pid).cpuMs;
      child.kill('SIGHUP');
      await pause(1_000);
      if (cycle >= 3) cycles.push(sample(pid).cpuMs - before);
    }
    const before = sample(pid);
    const idleSeconds = quick ? 3 : 8;
    await pause(idleSeconds * 1000);
    const after = sample(pid);
    if (child.exitCode !== null) throw new Error(`the agent ended with code ${child.exitCode}`);
    // the median is that of an ordinary cycle; the mean holds the refresh of stable traits, which spawns commands
    const mean = cycles.reduce((sum, ms) => sum + ms, 0) / cycles.length;
    const idle = ((after.cpuMs - before.cpuMs) / idleSeconds) * 60;
    return { ...after, cycleMs: median(cycles), meanMs: mean, sharePct: ((mean + idle) / 60_000) * 100 };
  } finally {
    await stop(child);
  }
}

export const agent: Bench = {
  name: 'agent',
  ids: ['P10'],
  async run(context) {
    const { dir, say } = context;
    say('P10: building the executable');
    const program = await buildExecutable('bin/vigo.ts', fileURLToPath(new URL('../.vigo/build/vigo', import.meta.url)));
    const idleProgram = await buildExecutable('bench/idle-packages.ts', fileURLToPath(new URL('./out/idle', import.meta.url)));
    const site = await makeSite(dir, 0, 0, { enrollment: { token_bcrypt_cost: 10 } }, 'agents');
    const body = join(dir, 'body.json');
    mkdirSync(join(dir, 'managed'));
    writeFileSync(body, policy(join(dir, 'managed')));
    const server = new Child('./server-process.ts', [site.dataDir, body]);
    const figures: Figure[] = [];
    try {
      await server.next();
      const here = fileURLToPath(new URL('../bin/vigo.ts', import.meta.url));
      const agents: readonly Agent[] = [
        { label: 'executable', program, args: [] },
        { label: 'sources', program: process.execPath, args: [here] },
      ];
      for (const one of agents) {
        say(`P10: ${one.label}`);
        const entry = fileURLToPath(new URL('./idle-packages.ts', import.meta.url));
        const floor = await floorOf(one.label === 'sources' ? one : { ...one, program: idleProgram }, entry);
        const found = await measure(one, dir, server, context);
        const what = 'idle with the packages loaded';
        figures.push(
          {
            id: `P10.${one.label}.rss`,
            what: `agent (${one.label}), RSS`,
            value: found.rssMb,
            unit: 'MB',
            floor: { what, value: floor.rssMb },
            limit: 90,
          },
          {
            id: `P10.${one.label}.private`,
            what: `agent (${one.label}), RssAnon`,
            value: found.anonMb,
            unit: 'MB',
            floor: { what, value: floor.anonMb },
            limit: 40,
          },
          {
            id: `P10.${one.label}.cycle`,
            what: `cycle of ${RESOURCES} resources without a change, CPU`,
            value: found.cycleMs,
            unit: 'ms',
            limit: 150,
            note: `mean with the refreshes of stable traits ${found.meanMs.toFixed(0)} ms; commands included; cycles a second apart, by SIGHUP`,
          },
          {
            id: `P10.${one.label}.share`,
            what: 'CPU of a core at a 60 s interval',
            value: found.sharePct,
            unit: '%',
            limit: 0.2,
            note: '(mean cycle + 60 s of idling, measured over some seconds) / 60 s',
          },
        );
      }
      return figures;
    } finally {
      await server.stop();
    }
  },
};
