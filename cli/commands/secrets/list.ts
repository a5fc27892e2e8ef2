/** `vigocli secrets list`, `get-meta`, `init`. */
import { z } from 'zod';
import { listSecrets, type SecretItem, secretMeta } from '../../../core/api/secrets.ts';
import { type Column, printFields, printList } from '../../../core/command/output.ts';
import { cliCommand, readPages, withClient } from '../../globals.ts';

const COLUMNS: readonly Column<SecretItem>[] = [
  { title: 'PATH', value: (row) => row.path },
  { title: 'VERSION', value: (row) => row.version },
  { title: 'USED-BY', value: (row) => row.used_by.length },
];

export const secretsList = cliCommand({
  name: ['secrets', 'list'],
  summary: 'lists secrets, never values',
  flags: z.object({}),
  positional: [{ name: 'prefix', summary: 'only paths that begin so', optional: true }],
  run: (input, io) =>
    withClient(input, io, async (client, output) => {
      const whole = await readPages(input, io, (page) => client.call(listSecrets, { query: { ...page, prefix: input.args[0] } }));
      printList(io, output, COLUMNS, whole.items, whole);
      return 0;
    }),
});

export const secretsGetMeta = cliCommand({
  name: ['secrets', 'get-meta'],
  summary: 'version and uses of a secret, never its value',
  flags: z.object({}),
  positional: [{ name: 'path', summary: 'such as db/password' }],
  run: (input, io) =>
    withClient(input, io, async (client, output) => {
      const meta = await client.call(secretMeta, { params: { path: input.args[0]! } });
      printFields(
        io,
        output,
        [
          ['path', meta.path],
          ['version', meta.version],
          ['used by', meta.used_by.join(', ')],
        ],
        meta,
      );
      return 0;
    }),
});

/** The master key is made by `vigosrv init`; what is left is to see that the provider works. */
export const secretsInit = cliCommand({
  name: ['secrets', 'init'],
  summary: 'checks that the secret provider of the server is ready',
  flags: z.object({}),
  run: (input, io) =>
    withClient(input, io, async (client, output) => {
      const { items, next_cursor } = await client.call(listSecrets, { query: { limit: 1000 } });
      const count = `${items.length}${next_cursor === null ? '' : ' or more'}`;
      printFields(
        io,
        output,
        [
          ['provider', 'ready'],
          ['secrets', count],
        ],
        { status: 'ready', secrets: items.length },
      );
      return 0;
    }),
});
