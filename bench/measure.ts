/** What a benchmark gives back, and the little arithmetic all of them need. */

export interface Figure {
  /** of design figures: P1 … P10 */
  readonly id: string;
  readonly what: string;
  readonly value: number;
  readonly unit: string;
  /** the least it could cost, measured in the same run */
  readonly floor?: { readonly what: string; readonly value: number };
  /** the figure to reach */
  readonly limit: number;
  /** a rate: more is better */
  readonly higherIsBetter?: boolean;
  readonly note?: string;
}

export interface BenchContext {
  /** gone after the run */
  readonly dir: string;
  readonly quick: boolean;
  /** progress, for people */
  say(text: string): void;
}

export interface Bench {
  readonly name: string;
  /** the figures it can give */
  readonly ids: readonly string[];
  run(context: BenchContext, wanted: ReadonlySet<string>): Promise<readonly Figure[]>;
}

export const MEGABYTE = 1024 * 1024;

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** Times the floor; for rates the other way round, so that less is always better. */
export function ratioOf(figure: Figure): number | undefined {
  if (figure.floor === undefined || figure.floor.value === 0) return undefined;
  return figure.higherIsBetter === true ? figure.floor.value / figure.value : figure.value / figure.floor.value;
}

export function reaches(figure: Figure): boolean {
  return figure.higherIsBetter === true ? figure.value >= figure.limit : figure.value <= figure.limit;
}

export const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
