/** Keeps one line of a text file. */
import type { z } from 'zod';
import { CodedError } from '../../core/base/errors.ts';
import { fileLine as spec } from '../../core/resources/file-line.ts';
import { editLines } from './edit-lines.ts';
import { defineExecutor, type ExecutorContext } from './executor.ts';

type Want = z.output<typeof spec.attributes>;

export const fileLine = defineExecutor(spec, {
  verb: () => 'updated',

  async check(want, context) {
    const edited = await edit(want, context);
    return edited.changes.map(({ from, to }) => ({ attribute: 'line', from, to }));
  },

  async apply(want, _changes, context) {
    const { bytes } = await edit(want, context);
    if (bytes === undefined) return;
    await context.snapshot(want.target_path, 'updated');
    // a link stays a link: what it points at is edited
    await context.system.writeFile(await context.system.realPath(want.target_path), bytes, {});
  },
});

async function edit(want: Want, { system }: ExecutorContext) {
  const bytes = await system.readFile(want.target_path);
  if (bytes === undefined) {
    if (want.state === 'absent') return { changes: [], bytes: undefined };
    throw new CodedError('BLOCKED', `${want.target_path} does not exist`);
  }
  // a file that is not UTF-8 is edited byte for byte
  const isUtf8 = Buffer.from(bytes.toString('utf8'), 'utf8').equals(bytes);
  const asText = (text: string) => (isUtf8 ? text : Buffer.from(text, 'utf8').toString('latin1'));
  const edited = editLines(bytes.toString(isUtf8 ? 'utf8' : 'latin1'), {
    line: want.line === undefined ? undefined : asText(want.line),
    matchPattern: want.match_pattern,
    position: want.position,
    regionStart: want.region_start,
    regionEnd: want.region_end,
    state: want.state,
  });
  return { changes: edited.changes, bytes: Buffer.from(edited.text, isUtf8 ? 'utf8' : 'latin1') };
}
