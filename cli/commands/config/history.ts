/** `vigocli config history`, `show`. */
import { z } from 'zod';
import { getRelease, listReleases, type ReleaseItem } from '../../../core/api/config.ts';
import { CodedError } from '../../../core/base/errors.ts';
import { flag } from '../../../core/command/flags.ts';
import { type Column, formatJson, formatTime, printFields, printList } from '../../../core/command/output.ts';
import { cliCommand, readPages, withClient } from '../../globals.ts';
import { sinceOf } from '../runs/list.ts';

const COLUMNS: readonly Column<ReleaseItem>[] = [
  { title: 'NUMBER', value: (row) => `${row.live ? '*' : ' '}${row.number}` },
  { title: 'VERSION', value: (row) => row.version },
  { title: 'ROOT', value: (row) => row.root.slice(0, 12) },
  { title: 'AUTHOR', value: (row) => row.author },
  { title: 'TIME', value: (row, output) => formatTime(row.created_at, output) },
  { title: 'FILES', value: (row) => `+${row.files.added} ~${row.files.changed} -${row.files.removed}` },
  { title: 'ENVOYS', value: (row) => row.envoys_affected },
  { title: 'RESULT', value: (row) => (row.rollback_of === null ? row.result : `${row.result} (rollback of ${row.rollback_of})`) },
  { title: 'MESSAGE', value: (row) => row.message },
];

export const configHistory = cliCommand({
  name: ['config', 'history'],
  summary: 'lists releases, newest first; the live one is starred',
  flags: z.object({ since: flag.text('newer than this', { value: 'time|duration' }) }),
  run: (input, io) =>
    withClient(input, io, async (client, output) => {
      const asked = { ...input, globals: { ...input.globals, limit: input.globals.limit ?? 20 } };
      const whole = await readPages(asked, io, (page) => client.call(listReleases, { query: page }));
      const since = sinceOf(input.flags.since);
      const items = since === undefined ? whole.items : whole.items.filter((row) => (row.created_at ?? '') >= since);
      printList(io, output, COLUMNS, items, { ...whole, items });
      return 0;
    }),
});

export const configShow = cliCommand({
  name: ['config', 'show'],
  summary: 'shows a release and its manifest',
  flags: z.object({}),
  positional: [{ name: 'number', summary: 'number of the release' }],
  run: (input, io) =>
    withClient(input, io, async (client, output) => {
      const number = Number(input.args[0]);
      if (!Number.isSafeInteger(number) || number < 1) throw new CodedError('USAGE', `"${input.args[0]}" is no release number`);
      const release = await client.call(getRelease, { params: { number } });
      const { manifest, files, created_at: createdAt, ...rest } = release;
      printFields(
        io,
        output,
        [
          ...Object.entries(rest),
          ['created', formatTime(createdAt, output)],
          ['files', `+${files.added} ~${files.changed} -${files.removed}`],
        ],
        release,
      );
      if (output.form !== 'json' && manifest !== null) io.out(`\nmanifest\n${formatJson(manifest)}`);
      return 0;
    }),
});
