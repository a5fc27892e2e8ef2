/** `vigocli tokens revoke`. */
import { z } from 'zod';
import { listTokens, revokeToken } from '../../../core/api/tokens.ts';
import { CodedError } from '../../../core/base/errors.ts';
import { compileGlob } from '../../../core/base/glob.ts';
import { flag } from '../../../core/command/flags.ts';
import { printFields } from '../../../core/command/output.ts';
import { cliCommand, readPages, withClient } from '../../globals.ts';

export const tokensRevoke = cliCommand({
  name: ['tokens', 'revoke'],
  summary: 'revokes enrolment tokens that are not spent',
  flags: z.object({ allMatching: flag.text('all active tokens whose pattern this glob matches', { value: 'glob' }) }),
  positional: [{ name: 'id', summary: 'ids of tokens', optional: true, many: true }],
  run: (input, io) =>
    withClient(input, io, async (client, output) => {
      const ids = [...input.args];
      const { allMatching } = input.flags;
      if (allMatching !== undefined) {
        const glob = compileGlob(allMatching);
        const every = { ...input, globals: { ...input.globals, all: true } };
        const { items } = await readPages(every, io, (page) => client.call(listTokens, { query: { ...page, state: 'active' } }));
        ids.push(...items.filter((row) => glob.matches(row.pattern)).map((row) => row.id));
      } else if (ids.length === 0) throw new CodedError('USAGE', 'name tokens, or give --all-matching');
      for (const id of ids) await client.call(revokeToken, { params: { id } });
      printFields(io, output, [['revoked', ids.length]], { revoked: ids.length, ids });
      return 0;
    }),
});
