/** A logger that remembers instead of printing. */
import type { Logger } from '../../core/base/log.ts';

export interface QuietLog extends Logger {
  readonly lines: { readonly level: string; readonly msg: string; readonly fields: object | undefined }[];
}

export function quietLog(): QuietLog {
  const lines: QuietLog['lines'] = [];
  const at = (level: string) => (msg: string, fields?: object) => void lines.push({ level, msg, fields });
  const log: QuietLog = {
    lines,
    trace: at('trace'),
    debug: at('debug'),
    info: at('info'),
    warn: at('warn'),
    error: at('error'),
    component: () => log,
  };
  return log;
}
