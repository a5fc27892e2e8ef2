/** `vigocli envoys traits`. */
import { z } from 'zod';
import { envoyTraits, listEnvoys } from '../../../core/api/envoys.ts';
import { formatDuration } from '../../../core/base/duration.ts';
import { CodedError } from '../../../core/base/errors.ts';
import { type Column, formatJson, printList } from '../../../core/command/output.ts';
import { exitOf } from '../../complete.ts';
import { cliCommand, readPages, withClient } from '../../globals.ts';

interface Row {
  readonly hostname: string;
  readonly path: string;
  readonly value: unknown;
  readonly age_s: number | null;
}

const COLUMNS: readonly Column<Row>[] = [
  { title: 'HOSTNAME', value: (row) => row.hostname },
  { title: 'TRAIT', value: (row) => row.path },
  {
    title: 'VALUE',
    value: (row) => (row.value === undefined ? '' : typeof row.value === 'string' ? row.value : JSON.stringify(row.value)),
  },
  { title: 'AGE', value: (row) => (row.age_s === null ? '' : formatDuration(row.age_s * 1000)) },
];

export const envoysTraits = cliCommand({
  name: ['envoys', 'traits'],
  summary: 'what envoys last reported of themselves',
  flags: z.object({}),
  positional: [
    { name: 'target', summary: 'host names, env:…, role:…' },
    { name: 'path', summary: 'such as os.distro', optional: true, many: true },
  ],
  run: (input, io) =>
    withClient(input, io, async (client, output) => {
      const [target, ...paths] = input.args;
      const whole = await readPages(input, io, (page) =>
        client.call(listEnvoys, { query: { ...page, target, spoke: input.globals.spoke } }),
      );
      const { items } = whole;
      if (items.length === 0) throw new CodedError('NO_TARGETS', 'the target matches nobody');
      if (paths.length === 0 && items.length === 1 && output.form !== 'csv') {
        io.out(formatJson((await client.call(envoyTraits, { params: { id: items[0]!.id } })).traits));
        return 0;
      }
      const rows: Row[] = [];
      for (const { id, hostname } of items) {
        for (const path of paths.length === 0 ? [undefined] : paths) {
          try {
            const { traits, age_s } = await client.call(envoyTraits, { params: { id }, query: { path } });
            rows.push({ hostname, path: path ?? '', value: traits, age_s });
          } catch (error) {
            if (!(error instanceof CodedError) || error.code !== 'NOT_FOUND') throw error;
            rows.push({ hostname, path: path ?? '', value: undefined, age_s: null });
          }
        }
      }
      printList(io, output, COLUMNS, rows, { items: rows });
      return exitOf(input, io, whole);
    }),
});
