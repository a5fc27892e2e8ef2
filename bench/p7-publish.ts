/** P7 and the other half of P8: a publish that changes 200 policies of 10,000 envoys, alone and while agents check in. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { parse } from 'yaml';
import { newSigningKey, sign } from '../core/crypto/ed25519.ts';
import { Child } from './child.ts';
import type { LoadOrder } from './load.ts';
import { type Bench, type Figure, median, pause } from './measure.ts';
import { makeSite } from './site.ts';

const POLICIES = 200;
const KEYED = 64;

/** Each policy is for the hosts of five endings, and has a module of ten resources of its own. */
function tree(): Map<string, string> {
  const files = new Map<string, string>([['common.vgo', 'vars:\n  port: 1\n']]);
  for (let policy = 0; policy < POLICIES; policy++) {
    const endings = Array.from({ length: 5 }, (_, i) => `"host-???${String(policy * 5 + i).padStart(3, '0')}.example.com"`);
    files.set(`p${policy}.vgo`, `match: [${endings.join(', ')}]\nmodules: [m${policy}]\nvars:\n  zone: z${policy}\n`);
    const resources = [
      `  - { name: dir, type: directory, target_path: /srv/p${policy}, mode: "0755" }\n`,
      ...Array.from(
        { length: 8 },
        (_, i) =>
          `  - name: conf${i}\n    type: file\n    target_path: /srv/p${policy}/${i}.conf\n    content: "listen {{ .Vars.port }} in {{ .Vars.zone }} number ${i}\\n"\n    mode: "0644"\n    depends_on: dir\n`,
      ),
      `  - { name: link, type: symlink, target_path: /srv/p${policy}/current, to: /srv/p${policy}/0.conf, depends_on: conf0 }\n`,
    ];
    files.set(`modules/m${policy}.vgo`, `name: m${policy}\nresources:\n${resources.join('')}`);
  }
  return files;
}

/** The least a publish can do: parse every file once, write every file once, sign once a policy. */
function floorMs(files: ReadonlyMap<string, string>, dir: string): number {
  const key = newSigningKey();
  const begun = performance.now();
  for (const [path, text] of files) {
    parse(text);
    const target = join(dir, path);
    mkdirSync(dirname(target), { recursive: true });
    writeFileSync(target, text);
  }
  for (let i = 0; i < POLICIES; i++) sign(key.secretKey, Buffer.alloc(512, i));
  return performance.now() - begun;
}

interface Published {
  readonly ms: number;
  readonly steps: Readonly<Record<string, number>>;
  readonly envoys: number;
  readonly entries: number;
}

export const publish: Bench = {
  name: 'publish',
  ids: ['P7', 'P8'],
  async run({ dir, quick, say }, wanted) {
    say('P7: making envoys and a tree');
    const envoys = quick ? 2_000 : 10_000;
    const site = await makeSite(dir, envoys, KEYED, {}, 'publish');
    const files = tree();
    for (const [path, text] of files) {
      const target = join(site.dataDir, 'stacks', path);
      mkdirSync(dirname(target), { recursive: true });
      writeFileSync(target, text);
    }
    const floor = { what: 'parse, write and sign everything once', value: floorMs(files, join(dir, 'floor')) };
    const server = new Child('./publish-process.ts', [site.dataDir]);
    const load = new Child('./load.ts', [site.dataDir]);
    try {
      const { port } = await server.next<{ port: number }>();
      await load.next();
      const rounds: Published[] = [];
      for (let round = 0; round < (quick ? 3 : 5); round++) {
        say(`P7: publish ${round + 1}`);
        rounds.push(await server.ask<Published>(8_000 + round));
      }
      const [first, ...later] = rounds;
      if (first!.entries !== POLICIES || first!.envoys !== envoys)
        throw new Error(`not the fleet that was meant: ${JSON.stringify(first)}`);
      const figures: Figure[] = [];
      const steps = (round: Published) =>
        Object.entries(round.steps)
          .map(([name, ms]) => `${name} ${ms}`)
          .join(', ');
      if (wanted.has('P7'))
        figures.push(
          {
            id: 'P7.first',
            what: `first publish of a process, ${envoys} envoys, ${POLICIES} policies`,
            value: first!.ms,
            unit: 'ms',
            floor,
            limit: 2_000,
            note: `ms a step: ${steps(first!)}`,
          },
          {
            id: 'P7',
            what: 'the same, every policy changed, median of the next ones',
            value: median(later.map(({ ms }) => ms)),
            unit: 'ms',
            floor,
            limit: 2_000,
            note: `ms a step: ${steps(later.at(-1)!)}`,
          },
        );
      if (wanted.has('P8')) {
        say('P8: publish while agents check in');
        const order: LoadOrder = { port, mode: 'kept', path: 'check-in', from: 0, envoys: KEYED, seconds: 6, rate: 1_000 };
        await load.ask({ ...order, seconds: 1 });
        await pause(11_000);
        const loaded = load.ask(order);
        await pause(1_000);
        await server.ask<Published>(9_000);
        await loaded;
        figures.push({
          id: 'P8.publish',
          what: 'longest delay of a check-in thread during a publish, 1,000 /s',
          value: (await server.ask<{ delayMs: number }>('delay')).delayMs,
          unit: 'ms',
          limit: 10,
          note: 'with the bundles that follow and a flush of the index; the publishing thread and the load compete for the cores',
        });
      }
      return figures;
    } finally {
      await load.stop();
      await server.stop();
    }
  },
};
