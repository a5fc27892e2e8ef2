/** How answers look: tables, CSV and JSON; no byte of an answer can steer the terminal or a spreadsheet. */
import type { CommandIo, OutputOptions } from './command.ts';

export interface Column<Row> {
  readonly title: string;
  /** numbers stand at the right */
  value(row: Row, options: OutputOptions): string | number | undefined;
  /** shown with `--output wide` and in CSV only */
  readonly wide?: boolean;
}

/** Control characters, line ends and direction marks as `\xNN` or `\u{…}`. */
export function escapeCell(text: string): string {
  return text.replace(/[\u0000-\u001f\u007f-\u009f\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g, (char) => {
    const code = char.codePointAt(0)!;
    return code < 0x100 ? `\\x${code.toString(16).padStart(2, '0')}` : `\\u{${code.toString(16)}}`;
  });
}

/** As {@link escapeCell}, line ends and tabs kept: for output of commands shown as text. */
export function escapeText(text: string): string {
  return text
    .split('\n')
    .map((line) => line.split('\t').map(escapeCell).join('\t'))
    .join('\n');
}

/** RFC 4180, with a leading `'` where a spreadsheet would read a formula. */
export function csvCell(text: string): string {
  const safe = /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

const WIDE = /[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6]|\p{Extended_Pictographic}/u;

function widthOf(text: string): number {
  let width = 0;
  for (const char of text) width += /\p{Mn}/u.test(char) ? 0 : WIDE.test(char) ? 2 : 1;
  return width;
}

export function formatTable<Row>(columns: readonly Column<Row>[], rows: readonly Row[], options: OutputOptions): string {
  const shown = columns.filter((column) => column.wide !== true || options.form === 'wide');
  const cells = rows.map((row) => shown.map((column) => column.value(row, options)));
  const texts = cells.map((line) => line.map((cell) => escapeCell(cell === undefined || cell === '' ? '-' : String(cell))));
  const widths = shown.map((column, index) => Math.max(column.title.length, ...texts.map((line) => widthOf(line[index]!))));
  const isNumber = shown.map(
    (_column, index) => cells.length > 0 && cells.every((line) => typeof line[index] === 'number' || line[index] === undefined),
  );
  const line = (texts: readonly string[]) =>
    texts
      .map((text, index) => {
        const gap = ' '.repeat(Math.max(0, widths[index]! - widthOf(text)));
        return isNumber[index] === true ? gap + text : text + gap;
      })
      .join('  ')
      .trimEnd();
  return `${[line(shown.map((column) => column.title)), ...texts.map(line)].join('\n')}\n`;
}

export function formatCsv<Row>(columns: readonly Column<Row>[], rows: readonly Row[], options: OutputOptions): string {
  const lines = rows.map((row) => columns.map((column) => csvCell(String(column.value(row, options) ?? ''))).join(','));
  return `${[columns.map((column) => column.title).join(','), ...lines].join('\r\n')}\r\n`;
}

/** JSON whose strings cannot steer a terminal: U+007F–U+009F and direction marks are escaped, JSON itself escapes the rest. */
export function formatJson(value: unknown): string {
  const text = JSON.stringify(value, null, 2).replace(
    /[\u007f-\u009f\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g,
    (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
  return `${text}\n`;
}

/** A list in the wanted form. `whole` is what `--json` prints. */
export function printList<Row>(
  io: CommandIo,
  options: OutputOptions,
  columns: readonly Column<Row>[],
  rows: readonly Row[],
  whole: unknown,
): void {
  if (options.form === 'json') io.out(formatJson(whole));
  else if (options.form === 'csv') io.out(formatCsv(columns, rows, options));
  else if (rows.length > 0) io.out(formatTable(columns, rows, options));
  else if (!options.quiet) io.err('nothing found\n');
}

/** One thing as `name: value` lines. */
export function printFields(io: CommandIo, options: OutputOptions, fields: readonly (readonly [string, unknown])[], whole: unknown): void {
  if (options.form === 'json') {
    io.out(formatJson(whole));
    return;
  }
  const shown = fields.filter(([, value]) => value !== undefined && value !== null && value !== '');
  const width = Math.max(0, ...shown.map(([name]) => name.length));
  for (const [name, value] of shown)
    io.out(`${name.padEnd(width)}  ${escapeCell(typeof value === 'object' ? JSON.stringify(value) : String(value))}\n`);
}

/** Local time, or UTC with `--utc`; given RFC 3339 or milliseconds. */
export function formatTime(time: string | number | undefined | null, options: OutputOptions): string {
  if (time === undefined || time === null || time === '' || time === 0) return '';
  const date = new Date(time);
  if (Number.isNaN(date.getTime())) return String(time);
  if (options.utc) return date.toISOString().replace(/\.\d+Z$/, 'Z');
  const two = (value: number) => String(value).padStart(2, '0');
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())} ${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
}

/** Progress goes to standard error, and only to people. */
export function progress(io: CommandIo, options: OutputOptions, text: string): void {
  if (io.stderrIsTerminal && !options.quiet && options.form !== 'json') io.err(`${escapeCell(text)}\n`);
}

export function paint(text: string, color: 'red' | 'green' | 'yellow' | 'bold', options: OutputOptions): string {
  if (!options.color) return text;
  const code = { red: 31, green: 32, yellow: 33, bold: 1 }[color];
  return `\u001b[${code}m${text}\u001b[0m`;
}
