/** `day_of_month`: the local day, counted from either end. */
import { checkEach, type WhenBuiltin } from './builtin.ts';

export const DAY_OF_MONTH: WhenBuiltin = {
  name: 'day_of_month',
  side: 'agent',
  live: false,
  arity: [1, Number.POSITIVE_INFINITY],
  usage: 'day_of_month(1, -1)',
  doc: 'the local day of the month is one of these; -1 is the last day',
  check: checkEach((text) => {
    const day = /^-?\d{1,2}$/.test(text.trim()) ? Number(text) : 0;
    return day === 0 || Math.abs(day) > 31 ? `"${text}" is no day between 1 and 31 or -31 and -1` : undefined;
  }),
  evaluate: (days, { now }) => days.map(Number).some((day) => (day > 0 ? day : now.daysInMonth + 1 + day) === now.day),
};
