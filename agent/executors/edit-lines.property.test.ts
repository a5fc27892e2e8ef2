/** Whatever the file and the edit: doing it twice does nothing the second time, and untouched lines stay. */
import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { editLines, type LineEdit } from './edit-lines.ts';

const line = fc.stringMatching(/^[ab=# ]{0,6}$/);
const text = fc
  .tuple(fc.array(line, { maxLength: 8 }), fc.constantFrom('\n', '\r\n'), fc.boolean())
  .map(([lines, ending, finished]) => (lines.length === 0 ? '' : lines.join(ending) + (finished ? ending : '')));
const edit: fc.Arbitrary<LineEdit> = fc.record({
  line,
  matchPattern: fc.constantFrom(undefined, '^a', 'b', '^#?a=', '=$'),
  position: fc.constantFrom('end', 'begin', 'after:a', 'before:^b', 'after:z'),
  regionStart: fc.constant(undefined),
  regionEnd: fc.constant(undefined),
  state: fc.constantFrom('present' as const, 'absent' as const),
});

test('the second edit finds nothing to do', () => {
  fc.assert(
    fc.property(text, edit, (before, wanted) => {
      const once = editLines(before, wanted);
      expect(editLines(once.text, wanted)).toEqual({ text: once.text, changes: [] });
      expect(once.changes.length === 0).toBe(once.text === before);
    }),
    { numRuns: 2_000 },
  );
});

test('afterwards the line is there or gone, and lines that do not match are all still there in their order', () => {
  fc.assert(
    fc.property(text, edit, (before, wanted) => {
      const split = (one: string) => one.split(/\r?\n/);
      const after = split(editLines(before, wanted).text);
      if (wanted.state === 'present') expect(after).toContain(wanted.line);
      const matches = (one: string) =>
        one === wanted.line || (wanted.matchPattern !== undefined && new RegExp(wanted.matchPattern).test(one));
      const rest = (lines: string[]) => lines.filter((one) => one !== '' && !matches(one));
      expect(rest(after)).toEqual(rest(split(before)));
    }),
    { numRuns: 2_000 },
  );
});
