/** A process of its own that converges one policy on this machine: what fault tests kill. Prints `started`, then the outcomes. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { converge } from '../../agent/converge/converge.ts';
import { runWhenFree } from '../../agent/converge/lock.ts';
import { yieldsTo } from '../../agent/converge/preempt.ts';
import { RunFiles } from '../../agent/state/run-files.ts';
import { LocalSystem } from '../../agent/system/local-system.ts';
import { openMachine } from '../../agent/system/machine.ts';
import { systemClock } from '../../core/base/clock.ts';
import { Redactor } from '../../core/base/redaction.ts';
import { bodySchema } from '../../core/policy/body.ts';
import { memoryFacts } from '../fakes/memory-facts.ts';
import { quietLog } from '../fakes/quiet-log.ts';

const [folder, mode] = process.argv.slice(2) as [string, 'daemon' | 'manual'];
const body = bodySchema.parse(JSON.parse(readFileSync(join(folder, 'body.json'), 'utf8')));
const files = new RunFiles(join(folder, 'run'), mode);
const signal = new AbortController().signal;
const machine = await openMachine(new LocalSystem({ privateFolder: join(folder, 'private') }));
const { report } = await runWhenFree(files, { clock: systemClock, signal, waitMs: 20_000 }, async () => {
  process.stdout.write('started\n');
  return await converge(
    { machine, clock: systemClock, log: quietLog(), redactor: new Redactor(), memory: memoryFacts() },
    {
      runId: '0192f0c1-2345-7000-8000-000000000001',
      body,
      bodyHash: '00'.repeat(32),
      header: { owner_epoch: 1, epoch: 1, seq: 1 },
      envoy: { id: 'e', hostname: 'web01' },
      traits: {},
      mode: 'enforce',
      triggers: [],
      secrets: () => Promise.resolve(new Map()),
      signal,
      shouldYield: yieldsTo(files),
    },
  );
});
process.stdout.write(
  `${JSON.stringify({ partial: report.partial, actions: report.outcomes.map(({ action, reason }) => reason ?? action) })}\n`,
);
