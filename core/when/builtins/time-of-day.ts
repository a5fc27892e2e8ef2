/** `hour_range`, `minute_range`, `local_time`: half-open ranges that wrap around. */
import type { LocalTime } from '../facts.ts';
import { checkEach, type WhenBuiltin } from './builtin.ts';

function within(now: number, from: number, to: number): boolean {
  if (from === to) return false;
  return from < to ? now >= from && now < to : now >= from || now < to;
}

function range(
  name: string,
  usage: string,
  doc: string,
  toNumber: (text: string) => number | undefined,
  wanted: string,
  now: (time: LocalTime) => number,
): WhenBuiltin {
  return {
    name,
    side: 'agent',
    live: false,
    arity: [2, 2],
    usage,
    doc,
    check: checkEach((text) => (toNumber(text) === undefined ? `"${text}" is not ${wanted}` : undefined)),
    evaluate: ([from, to], facts) => within(now(facts.now), toNumber(from!)!, toNumber(to!)!),
  };
}

function below(limit: number): (text: string) => number | undefined {
  return (text) => (/^\d{1,2}$/.test(text.trim()) && Number(text) < limit ? Number(text) : undefined);
}

function clockMinutes(text: string): number | undefined {
  const match = /^([01]?\d|2[0-3]):([0-5]\d)$/.exec(text.trim());
  return match === null ? undefined : Number(match[1]) * 60 + Number(match[2]);
}

export const HOUR_RANGE = range(
  'hour_range',
  "hour_range('22', '5')",
  'the local hour is in [a, b); wraps around midnight',
  below(24),
  'an hour between 0 and 23',
  (time) => time.hour,
);
export const MINUTE_RANGE = range(
  'minute_range',
  "minute_range('0', '15')",
  'the minute is in [a, b); wraps around the hour',
  below(60),
  'a minute between 0 and 59',
  (time) => time.minute,
);
export const LOCAL_TIME = range(
  'local_time',
  "local_time('22:30', '05:00')",
  'the local time is in [a, b); wraps around midnight',
  clockMinutes,
  'a time such as 22:30',
  (time) => time.hour * 60 + time.minute,
);
