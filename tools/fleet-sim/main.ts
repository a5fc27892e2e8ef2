/**
 * `npm run fleet-sim`: a hub, spokes and thousands of virtual envoys on this machine, with the real protocol and real signatures. Says what the servers cost, and with
 * `--drain` what a drain does to everybody else.
 */
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { drainScenario, steadyScenario } from './scenarios.ts';
import { Simulation } from './simulation.ts';

const HELP = `npm run fleet-sim -- [flags]
  --envoys <n>       virtual envoys (default 1000)
  --spokes <n>       spokes below the hub (default 3)
  --interval <s>     check-in interval in seconds (default 15)
  --seconds <s>      length of the steady window (default 30)
  --drain <pct/min>  then drain the first spoke at this rate, as \`spanner spoke drain --max-rate\`
  --report-every <n> every n-th cycle has a full report (default 5)
  --processes <n>    processes that the envoys live in (default 2)
  --dir <path>       where everything lies (default .vigo/fleet-sim)
  --json             figures as one JSON document
`;

const { values } = parseArgs({
  options: {
    envoys: { type: 'string', default: '1000' },
    spokes: { type: 'string', default: '3' },
    interval: { type: 'string', default: '15' },
    seconds: { type: 'string', default: '30' },
    drain: { type: 'string' },
    'report-every': { type: 'string', default: '5' },
    processes: { type: 'string', default: '2' },
    dir: { type: 'string', default: fileURLToPath(new URL('../../.vigo/fleet-sim', import.meta.url)) },
    json: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});

function count(name: 'envoys' | 'spokes' | 'interval' | 'seconds' | 'report-every' | 'processes', least: number): number {
  const value = Number(values[name]);
  if (!Number.isInteger(value) || value < least)
    throw new Error(`--${name}: a whole number of at least ${least} is wanted, not "${values[name]}"`);
  return value;
}

const say = (text: string): void => void process.stderr.write(`fleet-sim: ${text} ...\n`);

async function main(): Promise<void> {
  const simulation = await Simulation.make({
    dir: values.dir,
    envoys: count('envoys', 1),
    spokes: count('spokes', 1),
    intervalS: count('interval', 5),
    processes: count('processes', 1),
    reportEvery: count('report-every', 1),
    say,
  });
  const interrupted = new AbortController();
  process.once('SIGINT', () => interrupted.abort());
  try {
    const steady = await steadyScenario(simulation, count('seconds', 5), say);
    const drained = values.drain === undefined ? undefined : await drainScenario(simulation, values.drain, say);
    if (values.json) process.stdout.write(`${JSON.stringify({ steady, drained }, null, 2)}\n`);
    else for (const line of [...steady.lines, ...(drained?.lines ?? [])]) process.stdout.write(`${line}\n`);
    if (drained !== undefined && drained.faults.length > 0) process.exitCode = 1;
  } finally {
    say('stopping');
    await simulation.stop();
  }
}

if (values.help) process.stdout.write(HELP);
else
  await main().catch((thrown: unknown) => {
    process.stderr.write(
      `fleet-sim: ${thrown instanceof Error ? thrown.message : String(thrown)}\nLogs of the servers: ${join(values.dir, '*', 'log')}\n`,
    );
    process.exitCode = 1;
  });
