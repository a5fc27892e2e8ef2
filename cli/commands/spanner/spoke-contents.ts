/** `vigocli spanner spoke envoys|runs <id>`: the lists of the fleet, of one spoke alone. */
import { z } from 'zod';
import { listEnvoys } from '../../../core/api/envoys.ts';
import { listRuns } from '../../../core/api/runs.ts';
import { printList } from '../../../core/command/output.ts';
import { exitOf } from '../../complete.ts';
import { cliCommand, readPages, withClient } from '../../globals.ts';
import { ENVOY_COLUMNS } from '../envoys/columns.ts';
import { RUN_COLUMNS } from '../runs/columns.ts';

const positional = [{ name: 'id', summary: 'the spoke' }] as const;

export const spokeEnvoys = cliCommand({
  name: ['spanner', 'spoke', 'envoys'],
  summary: 'lists the envoys of a spoke',
  flags: z.object({}),
  positional,
  run: (input, io) =>
    withClient(input, io, async (client, output) => {
      const spoke = input.args[0];
      const whole = await readPages(input, io, (page) => client.call(listEnvoys, { query: { ...page, spoke } }));
      printList(io, output, ENVOY_COLUMNS, whole.items, whole);
      return exitOf(input, io, whole);
    }),
});

export const spokeRuns = cliCommand({
  name: ['spanner', 'spoke', 'runs'],
  summary: 'lists the runs that a spoke took, newest first',
  flags: z.object({}),
  positional,
  run: (input, io) =>
    withClient(input, io, async (client, output) => {
      const spoke = input.args[0];
      const whole = await readPages(input, io, (page) => client.call(listRuns, { query: { ...page, spoke } }));
      printList(io, output, RUN_COLUMNS, whole.items, whole);
      return exitOf(input, io, whole);
    }),
});
