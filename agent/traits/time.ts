/** Clock and calendar, local and UTC. */
import type { TraitCollector } from './collector.ts';

const DAYS = ['sunday', 'monday', 'tuesday', 'wednesday', 'thursday', 'friday', 'saturday'];
const two = (value: number) => String(value).padStart(2, '0');

export const time: TraitCollector = {
  name: 'time',
  refresh: 'volatile',
  collect({ system }) {
    const now = new Date(system.now());
    return Promise.resolve({
      hour: now.getHours(),
      minute: now.getMinutes(),
      weekday: DAYS[now.getDay()]!,
      day: now.getDate(),
      month: now.getMonth() + 1,
      year: now.getFullYear(),
      timezone: process.env['TZ'] ?? 'Local',
      utc_hour: now.getUTCHours(),
      clock: `${two(now.getHours())}:${two(now.getMinutes())}`,
      date: `${now.getFullYear()}-${two(now.getMonth() + 1)}-${two(now.getDate())}`,
    });
  },
};
