/** The live table of the demo: redrawn in place on a terminal, a line per change elsewhere. */
import type { EnvoyItem } from '../../core/api/envoys.ts';

const MARK: Readonly<Record<string, string>> = {
  converged: '✔',
  relapsed: '↻',
  diverged: '✖',
  degraded: '✖',
  failed: '✖',
  offline: '?',
  no_data: '…',
};
const COLOR: Readonly<Record<string, number>> = { converged: 32, no_data: 90, offline: 90, relapsed: 33 };

export interface Row extends Pick<EnvoyItem, 'hostname' | 'state' | 'release' | 'last_seen'> {
  readonly spoke: string;
  readonly resources: string;
  readonly last: string;
}

const HEAD = ['ENVOY', 'SPOKE', 'STATE', 'RELEASE', 'RESOURCES', 'LAST RUN'];

export class LiveTable {
  #height = 0;
  #before = '';
  readonly #terminal = process.stdout.isTTY === true && process.env['TERM'] !== 'dumb';
  readonly #color = this.#terminal && (process.env['NO_COLOR'] ?? '') === '';

  show(rows: readonly Row[]): void {
    const cells = rows.map((row) => [
      row.hostname,
      row.spoke,
      `${MARK[row.state] ?? '·'} ${row.state.replace('_', ' ')}`,
      row.release === 0 ? '–' : String(row.release),
      row.resources,
      row.last,
    ]);
    const widths = HEAD.map((name, column) => Math.max(name.length, ...cells.map((row) => row[column]!.length)));
    const line = (row: readonly string[]) =>
      row
        .map((cell, column) => cell.padEnd(widths[column]!))
        .join('  ')
        .trimEnd();
    const lines = [line(HEAD), ...cells.map((row, index) => this.#paint(line(row), rows[index]!.state))];
    if (this.#terminal) {
      process.stdout.write(`${this.#height > 0 ? `\u001b[${this.#height}A` : ''}${lines.map((text) => `\u001b[2K  ${text}\n`).join('')}`);
      this.#height = lines.length;
      return;
    }
    const plain = cells.map((row) => `  ${row.slice(0, 5).join('  ')}`).join('\n');
    if (plain === this.#before) return;
    this.#before = plain;
    process.stdout.write(`${plain}\n`);
  }

  /** What is printed next stands below the table; the next table starts anew. */
  leave(): void {
    this.#height = 0;
  }

  #paint(text: string, state: string): string {
    return this.#color ? `\u001b[${COLOR[state] ?? 31}m${text}\u001b[0m` : text;
  }
}
