/** Figures for people: the table, the verdict, and RESULTS.md with its hand-written part left alone. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import type { Figure } from './measure.ts';

export interface JudgedFigure extends Figure {
  readonly ratio: number | undefined;
  /** most that the ratio may be */
  readonly budget: number | undefined;
  readonly reached: boolean;
}

export interface BenchRun {
  readonly machine: {
    readonly cpu: string;
    readonly cores: number;
    readonly memory_mb: number;
    readonly kernel: string;
    readonly node: string;
  };
  readonly command: string;
  readonly date: string;
  readonly seconds: number;
  readonly figures: readonly JudgedFigure[];
}

const HAND_WRITTEN = '<!-- below: written by hand, kept by the generator -->';

function number(value: number): string {
  return value >= 100 ? Math.round(value).toLocaleString('en-US') : value >= 10 ? value.toFixed(1) : value.toFixed(value < 0.1 ? 3 : 2);
}

function verdict(figure: JudgedFigure): string {
  const within = figure.ratio === undefined || figure.budget === undefined || figure.ratio <= figure.budget;
  if (figure.reached) return within ? 'yes' : 'yes, but not beside the floor';
  return within && figure.budget !== undefined && figure.ratio !== undefined ? 'no; beside the floor yes' : 'no';
}

function row(figure: JudgedFigure): string[] {
  const { floor, ratio, budget } = figure;
  return [
    figure.id,
    figure.what,
    `${number(figure.value)} ${figure.unit}`,
    `${figure.higherIsBetter === true ? '>=' : '<='} ${number(figure.limit)} ${figure.unit}`,
    floor === undefined ? '-' : `${number(floor.value)} ${figure.unit} (${floor.what})`,
    ratio === undefined ? '-' : `${ratio.toFixed(2)} x${budget === undefined ? '' : ` (budget ${budget})`}`,
    verdict(figure),
  ];
}

const HEADINGS = ['id', 'what', 'measured', 'figure', 'floor', 'ratio', 'reached'];

function machineLines({ machine, command, date, seconds }: BenchRun): string[] {
  return [
    `machine: ${machine.cpu}, ${machine.cores} cores, ${machine.memory_mb} MB, Linux ${machine.kernel}, Node ${machine.node}`,
    `command: ${command}`,
    `date:    ${date}, took ${seconds} s`,
  ];
}

export function tableOf(run: BenchRun): string {
  const rows = [HEADINGS, ...run.figures.map(row)];
  const widths = HEADINGS.map((_, column) => Math.max(...rows.map((cells) => cells[column]!.length)));
  const lines = rows.map((cells) =>
    cells
      .map((cell, column) => cell.padEnd(widths[column]!))
      .join('  ')
      .trimEnd(),
  );
  const notes = run.figures.filter(({ note }) => note !== undefined).map(({ id, note }) => `${id}: ${note}`);
  return `${[...machineLines(run), '', ...lines, '', ...notes].join('\n')}\n`;
}

/** A build may only fail on a ratio: more than twice the budget beside the floor of the same run. */
export function judge(run: BenchRun): readonly string[] {
  return run.figures.flatMap(({ id, ratio, budget }) =>
    ratio !== undefined && budget !== undefined && ratio > 2 * budget
      ? [`${id}: ${ratio.toFixed(2)} times its floor is more than twice the budget of ${budget}`]
      : [],
  );
}

/** Everything above the marker is written anew; everything below it stays. */
export function writeResults(file: string, run: BenchRun): void {
  const old = existsSync(file) ? readFileSync(file, 'utf8') : '';
  const kept = old.includes(HAND_WRITTEN) ? old.slice(old.indexOf(HAND_WRITTEN) + HAND_WRITTEN.length) : '\n\n## Shortfalls\n';
  const table = [HEADINGS, HEADINGS.map(() => '---'), ...run.figures.map(row)].map((cells) => `| ${cells.join(' | ')} |`);
  const notes = run.figures.filter(({ note }) => note !== undefined).map(({ id, note }) => `- ${id}: ${note}`);
  writeFileSync(
    file,
    [
      '# Results of the benchmarks',
      '',
      'Made by `npm run bench -- --write`; the figures are those of the design (P1 to P10), each beside its floor of the same run.',
      '',
      ...machineLines(run).map((line) => `- ${line}`),
      '',
      ...table,
      '',
      ...notes,
      '',
      HAND_WRITTEN,
    ].join('\n') + kept,
  );
}
