/** Durations and sizes as users write them: `90`, `15s`, `5m`, `24h`; `64KiB`. */

const UNIT_MS: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };
const UNIT_BYTES: Readonly<Record<string, number>> = { '': 1, KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3 };

/** Milliseconds, or undefined when the text is no duration. A bare integer means seconds. */
export function parseDurationMs(text: string | number): number | undefined {
  const match = /^(\d+)(ms|s|m|h|d)?$/.exec(String(text).trim());
  if (match === null) return undefined;
  const value = Number(match[1]) * UNIT_MS[match[2] ?? 's']!;
  return Number.isSafeInteger(value) ? value : undefined;
}

/** Bytes, or undefined when the text is no size. */
export function parseSizeBytes(text: string | number): number | undefined {
  const match = /^(\d+)\s*(KiB|MiB|GiB)?$/.exec(String(text).trim());
  if (match === null) return undefined;
  const value = Number(match[1]) * UNIT_BYTES[match[2] ?? '']!;
  return Number.isSafeInteger(value) ? value : undefined;
}

/** `4m 32s`, `2d 3h`, `850ms`: the two largest units, for people. */
export function formatDuration(ms: number): string {
  if (ms < 1_000) return `${Math.max(0, Math.round(ms))}ms`;
  const seconds = Math.floor(ms / 1_000);
  const parts: [number, string][] = [
    [Math.floor(seconds / 86_400), 'd'],
    [Math.floor(seconds / 3_600) % 24, 'h'],
    [Math.floor(seconds / 60) % 60, 'm'],
    [seconds % 60, 's'],
  ];
  const first = parts.findIndex(([count]) => count > 0);
  return parts
    .slice(first, first + 2)
    .filter(([count], index) => index === 0 || count > 0)
    .map(([count, unit]) => `${count}${unit}`)
    .join(' ');
}
