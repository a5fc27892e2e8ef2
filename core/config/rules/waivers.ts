/** WAIV-2, WAIV-3: waivers that have expired or soon will (config.md §17.3). */
import type { Problem } from '../../base/problem.ts';
import type { Rule } from './rule.ts';

const DAY_MS = 86_400_000;

export const waivers: Rule = {
  name: 'waivers',
  check({ config }, { today }) {
    if (today === undefined) return [];
    const now = Date.parse(`${today}T00:00:00Z`);
    return [...config.directories.values()].flatMap(({ waivers: list }) =>
      list.flatMap((waiver): Problem[] => {
        if (waiver.expires === undefined) return [];
        const left = Date.parse(`${waiver.expires}T00:00:00Z`) - now;
        const what = `the waiver for ${waiver.framework} ${waiver.controls.join(', ')}`;
        if (left <= 0) return [{ rule: 'WAIV-2', severity: 'warning', message: `${what} expired on ${waiver.expires}`, at: waiver.at }];
        if (left > 30 * DAY_MS) return [];
        return [{ rule: 'WAIV-3', severity: 'info', message: `${what} expires on ${waiver.expires}`, at: waiver.at }];
      }),
    );
  },
};
