/**
 * `npm run bench`: the cost model of the design, measured, each figure beside its floor of the same run.
 * `npm run bench -- [--only P1,P4] [--quick] [--json] [--write]`
 */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, release, tmpdir, totalmem } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { type Figure, MEGABYTE, ratioOf, reaches } from './measure.ts';
import { BENCHES } from './registry.ts';
import { type BenchRun, judge, tableOf, writeResults } from './results.ts';

const here = (name: string) => fileURLToPath(new URL(name, import.meta.url));
const { values: flags } = parseArgs({
  options: {
    only: { type: 'string' },
    quick: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    write: { type: 'boolean', default: false },
  },
});

const known = BENCHES.flatMap(({ ids }) => ids);
const wanted = new Set(flags.only?.split(',') ?? known);
const strange = [...wanted].filter((id) => !known.includes(id));
if (strange.length > 0) {
  process.stderr.write(`no benchmark is called ${strange.join(', ')}; there are ${[...new Set(known)].join(', ')}\n`);
  process.exit(2);
}
const budgets = JSON.parse(readFileSync(here('./budgets.json'), 'utf8')) as Record<string, number>;
const begun = performance.now();
const dir = mkdtempSync(join(tmpdir(), 'vigo-bench-'));
const say = (text: string) => process.stderr.write(`[${((performance.now() - begun) / 1000).toFixed(0).padStart(3)} s] ${text}\n`);
const figures: Figure[] = [];
try {
  for (const bench of BENCHES) {
    if (bench.ids.some((id) => wanted.has(id))) figures.push(...(await bench.run({ dir, quick: flags.quick, say }, wanted)));
  }
} finally {
  rmSync(dir, { recursive: true, force: true });
}
const order = (id: string) => Number.parseInt(id.slice(1), 10);
const run: BenchRun = {
  machine: {
    cpu: cpus()[0]?.model ?? 'unknown',
    cores: cpus().length,
    memory_mb: Math.round(totalmem() / MEGABYTE),
    kernel: release(),
    node: process.version,
  },
  command: ['npm run bench --', ...process.argv.slice(2)].join(' '),
  date: new Date().toISOString(),
  seconds: Math.round((performance.now() - begun) / 1000),
  figures: figures
    .sort((a, b) => order(a.id) - order(b.id))
    .map((figure) => ({ ...figure, ratio: ratioOf(figure), budget: budgets[figure.id], reached: reaches(figure) })),
};
mkdirSync(here('./out'), { recursive: true });
writeFileSync(here('./out/results.json'), `${JSON.stringify(run, null, 2)}\n`);
if (flags.json) process.stdout.write(`${JSON.stringify(run)}\n`);
else process.stdout.write(tableOf(run));
if (flags.write) writeResults(here('./RESULTS.md'), run);
const broken = judge(run);
for (const line of broken) process.stderr.write(`${line}\n`);
process.exitCode = broken.length > 0 ? 1 : 0;
