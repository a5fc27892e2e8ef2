/** `vigocli secrets set`: the value comes from standard input, a file, or is made up; never from an argument. */
import { randomInt } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { z } from 'zod';
import { putSecret } from '../../../core/api/secrets.ts';
import { CodedError } from '../../../core/base/errors.ts';
import { flag } from '../../../core/command/flags.ts';
import { printFields } from '../../../core/command/output.ts';
import { cliCommand, withClient } from '../../globals.ts';

const ALPHABET = 'ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz23456789';

function generated(length: number): string {
  if (length < 8 || length > 1024) throw new CodedError('USAGE', '--generate takes a length between 8 and 1024');
  return Array.from({ length }, () => ALPHABET[randomInt(ALPHABET.length)]).join('');
}

export const secretsSet = cliCommand({
  name: ['secrets', 'set'],
  summary: 'stores a secret read from standard input',
  details: 'One line end at the end of the input is removed. The value is never taken from an argument.',
  flags: z.object({
    file: flag.text('read the value from this file, byte for byte', { value: 'path' }),
    generate: flag.whole('make up a value of so many characters'),
  }),
  positional: [{ name: 'path', summary: 'such as db/password' }],
  run: (input, io) =>
    withClient(input, io, async (client, output) => {
      const { file, generate } = input.flags;
      if (file !== undefined && generate !== undefined) throw new CodedError('USAGE', 'give either --file or --generate');
      let value: Buffer;
      if (file !== undefined) value = readFileSync(file);
      else if (generate !== undefined) value = Buffer.from(generated(generate));
      else {
        if (io.stdinIsTerminal) io.err('value on standard input, end with Ctrl-D; better: vigocli secrets set <path> < file\n');
        value = Buffer.from((await io.stdin()).replace(/\r?\n$/, ''));
      }
      if (value.length === 0) throw new CodedError('USAGE', 'the value is empty');
      const reply = await client.call(putSecret, { params: { path: input.args[0]! }, body: { value: value.toString('base64') } });
      value.fill(0);
      printFields(
        io,
        output,
        [
          ['path', reply.path],
          ['version', reply.version],
          ['envoys that apply it', reply.envoys],
        ],
        reply,
      );
      return 0;
    }),
});
