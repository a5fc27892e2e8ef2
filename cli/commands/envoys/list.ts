/** `vigocli envoys list`. */
import { z } from 'zod';
import { listEnvoys } from '../../../core/api/envoys.ts';
import { flag } from '../../../core/command/flags.ts';
import { printList } from '../../../core/command/output.ts';
import { exitOf } from '../../complete.ts';
import { cliCommand, readPages, withClient } from '../../globals.ts';
import { ENVOY_COLUMNS } from './columns.ts';

export const envoysList = cliCommand({
  name: ['envoys', 'list'],
  summary: 'lists envoys',
  flags: z.object({
    state: flag.text('only those in this state'),
    stale: flag.on('only those that are silent or run on an old bundle'),
    env: flag.text('only those of this environment'),
    role: flag.text('only those with this role'),
    release: flag.whole('only those on this release'),
    label: flag.text('only those with this label', { value: 'k[=v]' }),
    wide: flag.on('more columns'),
  }),
  positional: [{ name: 'target', summary: 'host names, env:…, role:…, state:…', optional: true }],
  run: (input, io) =>
    withClient(input, io, async (client, output) => {
      const { stale, wide, ...filters } = input.flags;
      const query = { ...filters, target: input.args[0], spoke: input.globals.spoke, stale: stale ? ('true' as const) : undefined };
      const whole = await readPages(input, io, (page) => client.call(listEnvoys, { query: { ...page, ...query } }));
      printList(io, wide && output.form === 'table' ? { ...output, form: 'wide' } : output, ENVOY_COLUMNS, whole.items, whole);
      return exitOf(input, io, whole);
    }),
});
