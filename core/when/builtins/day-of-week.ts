/** `day_of_week`: the local weekday. */
import { checkEach, type WhenBuiltin } from './builtin.ts';

const DAYS = ['sunday', 'monday', 'tuesday', 'wednesday', 'thursday', 'friday', 'saturday'];

function dayNumber(text: string): number {
  const name = text.trim().toLowerCase();
  return DAYS.findIndex((day) => day === name || day.slice(0, 3) === name);
}

export const DAY_OF_WEEK: WhenBuiltin = {
  name: 'day_of_week',
  side: 'agent',
  live: false,
  arity: [1, Number.POSITIVE_INFINITY],
  usage: "day_of_week('sat', 'sunday')",
  doc: 'the local weekday is one of these; full or 3-letter English names',
  check: checkEach((name) => (dayNumber(name) < 0 ? `"${name}" is no weekday` : undefined)),
  evaluate: (names, { now }) => names.some((name) => dayNumber(name) === now.weekday),
};
