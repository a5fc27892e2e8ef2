/** Keeps a scheduled job. */
import type { z } from 'zod';
import { cron as spec } from '../../core/resources/cron.ts';
import { backend } from '../platform/backend.ts';
import { type Change, defineExecutor } from './executor.ts';

type Want = z.output<typeof spec.attributes>;

export const cron = defineExecutor(spec, {
  async check(want, { platform }) {
    const now = await backend(platform.cron, 'cron').read(want.name);
    if (want.state === 'absent') return now === undefined ? [] : [{ attribute: 'exists', from: true, to: false }];
    if (now === undefined) return [{ attribute: 'exists', from: false, to: true }];
    const wanted = jobText(want);
    if (now === wanted) return [];
    const change: Change = { attribute: 'job', from: lastLine(now), to: lastLine(wanted) };
    return [change];
  },

  async apply(want, _changes, { platform, snapshot }) {
    const tables = backend(platform.cron, 'cron');
    const path = tables.path(want.name);
    if (path !== undefined) await snapshot(path, want.state === 'absent' ? 'deleted' : 'updated');
    if (want.state === 'absent') await tables.remove(want.name);
    else await tables.write(want.name, jobText(want));
  },
});

function jobText(want: Want): string {
  const schedule = want.schedule ?? [want.minute, want.hour, want.day, want.month, want.weekday].join(' ');
  const variables = [...(want.environment ?? new Map<string, string>())].map(([name, value]) => `${name}=${value}\n`).join('');
  return `# ${want.name}: kept by vigo, changes here are undone\n${variables}${schedule} ${want.user} ${want.command ?? ''}\n`;
}

function lastLine(text: string): string {
  return text.trimEnd().split('\n').at(-1) ?? '';
}
