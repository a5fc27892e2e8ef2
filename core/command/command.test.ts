/** The command line: parsing, exit codes, and answers that cannot steer a terminal or a spreadsheet. */
import { describe, expect, test } from '@jest/globals';
import { z } from 'zod';
import { CodedError } from '../base/errors.ts';
import { type CommandIo, commandOf, type OutputOptions, type Program } from './command.ts';
import { flag } from './flags.ts';
import { csvCell, escapeCell, formatCsv, formatJson, formatTable, formatTime } from './output.ts';
import { runProgram } from './run.ts';

const globals = z.object({ json: flag.on('as JSON'), verbose: flag.on('more', { short: 'v' }) });
type Globals = z.output<typeof globals>;
const seen: unknown[] = [];
const program: Program<typeof globals> = {
  name: 'tool',
  summary: 'does things',
  version: '1.2.3',
  globals,
  commands: [
    commandOf<Globals>()({
      name: ['thing', 'make'],
      summary: 'makes a thing',
      flags: z.object({
        size: flag.whole('how large'),
        tag: flag.many('a tag'),
        waitFor: flag.duration('how long'),
        kind: flag.oneOf(['a', 'b'], 'which'),
      }),
      positional: [{ name: 'name', summary: 'its name', many: true }],
      run: (input) => {
        seen.push(input);
        return Promise.resolve(0);
      },
    }),
    commandOf<Globals>()({
      name: ['thing', 'break'],
      summary: 'fails',
      flags: z.object({}),
      run: () => Promise.reject(new CodedError('FROZEN', 'publishing is \u001b[31mfrozen', { hint: 'wait' })),
    }),
    commandOf<Globals>()({
      name: ['crash'],
      summary: 'has a bug',
      flags: z.object({}),
      run: () => Promise.reject(new TypeError('x is undefined')),
    }),
  ],
};

async function run(argv: readonly string[]): Promise<{ code: number; out: string; err: string }> {
  const result = { code: 0, out: '', err: '' };
  const io: CommandIo = {
    out: (text) => {
      result.out += text;
    },
    err: (text) => {
      result.err += text;
    },
    stdin: () => Promise.resolve(''),
    ask: () => Promise.resolve(undefined),
    stdinIsTerminal: false,
    stdoutIsTerminal: false,
    stderrIsTerminal: false,
    columns: 80,
    env: {},
    signal: new AbortController().signal,
  };
  result.code = await runProgram(program, argv, io);
  return result;
}

describe('parsing', () => {
  test('flags in any form, global ones before the command', async () => {
    await run(['--json', 'thing', 'make', '-v', '--size=3', '--tag', 'x', '--tag=y', '--wait-for', '2m', '--kind', 'b', 'one', 'two']);
    expect(seen.pop()).toEqual({
      flags: { size: 3, tag: ['x', 'y'], waitFor: 120_000, kind: 'b' },
      globals: { json: true, verbose: true },
      args: ['one', 'two'],
    });
    await run(['thing', 'make', '--', '--not-a-flag']);
    expect(seen.pop()).toMatchObject({ args: ['--not-a-flag'], flags: { tag: [] } });
  });

  test.each<[readonly string[], number, string]>([
    [['thing', 'make', 'x', '--size', 'big'], 2, 'is not a whole number'],
    [['thing', 'make', 'x', '--kind', 'c'], 2, '--kind'],
    [['thing', 'make', 'x', '--sizes', '1'], 2, 'did you mean --size?'],
    [['thing', 'make', 'x', '--size'], 2, 'needs a value'],
    [['thing', 'make', 'x', '--json=1'], 2, 'takes no value'],
    [['thing', 'make'], 2, '<name> is missing'],
    [['thing', 'break', 'x'], 2, 'more arguments'],
    [['thing', 'brek'], 2, 'did you mean "break"?'],
    [['thng'], 2, 'did you mean "thing"?'],
    [['thing', 'break'], 4, 'publishing is \\x1b[31mfrozen [FROZEN]'],
    [['crash'], 1, 'internal failure: x is undefined'],
  ])('%j exits with %i', async (argv, code, text) => {
    const ran = await run(argv);
    expect([ran.code, ran.err]).toEqual([code, expect.stringContaining(text)]);
  });

  test('help and version', async () => {
    expect((await run(['--version'])).out).toBe('tool 1.2.3\n');
    expect((await run(['thing', 'make', '--help'])).out).toMatch(/tool thing make <name>…[\s\S]*--wait-for <duration> +how long/);
    expect((await run(['thing', '--help'])).out).not.toContain('crash');
  });
});

describe('answers', () => {
  const plain: OutputOptions = { form: 'table', color: false, quiet: false, utc: true };
  const columns = [
    { title: 'NAME', value: (row: readonly [string, number]) => row[0] },
    { title: 'N', value: (row: readonly [string, number]) => row[1] },
    { title: 'MORE', value: () => 'm', wide: true },
  ];

  test('tables are aligned, numbers to the right, wide columns on demand', () => {
    const rows = [
      ['a', 5],
      ['日本', 10],
    ] as const;
    expect(formatTable(columns, rows, plain)).toBe('NAME   N\na      5\n日本  10\n');
    expect(formatTable(columns, rows, { ...plain, form: 'wide' })).toContain('MORE');
  });

  test.each([
    ['a\u001b[2Jb', 'a\\x1b[2Jb'],
    ['line\nend\r', 'line\\x0aend\\x0d'],
    ['\u202eevil', '\\u{202e}evil'],
    ['ümläut', 'ümläut'],
  ])('control characters of %j are shown, not obeyed', (text, expected) => {
    expect(escapeCell(text)).toBe(expected);
    expect(formatJson(text)).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f]/);
  });

  test.each([
    ['=1+1', "'=1+1"],
    ['+1', "'+1"],
    ['-1', "'-1"],
    ['@x', "'@x"],
    ['a"b', '"a""b"'],
    ['a,b', '"a,b"'],
    ['=a,b', '"\'=a,b"'],
  ])('CSV cell %s', (text, expected) => {
    expect(csvCell(text)).toBe(expected);
  });

  test('CSV has all columns, times are UTC on demand', () => {
    expect(formatCsv(columns, [['=x', 1]], plain)).toBe("NAME,N,MORE\r\n'=x,1,m\r\n");
    expect(formatTime('2026-03-01T12:00:00.123Z', plain)).toBe('2026-03-01T12:00:00Z');
    expect(formatTime(null, plain)).toBe('');
  });
});
