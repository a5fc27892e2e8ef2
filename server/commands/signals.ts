/** Signals of `vigosrv run` beside TERM and INT: HUP compares the settings file with what runs, USR1 writes a diagnostics file (server.md §1.5). */
import { join } from 'node:path';
import type { Logger } from '../../core/base/log.ts';
import { formatProblem } from '../../core/base/problem.ts';
import { writeFileDurably } from '../../core/crypto/key-file.ts';
import { summarize } from '../observe/fleet-metrics.ts';
import type { ServerParts } from '../parts.ts';
import { effectiveSettings, type SettingsResult } from '../settings.ts';

type Valid = Extract<SettingsResult, { ok: true }>;

/** Keys whose values differ, sorted. */
function changedKeys(before: Valid, after: Valid): readonly string[] {
  const values = (result: Valid) => new Map(effectiveSettings(result).map(({ key, value }) => [key, JSON.stringify(value)]));
  const [old, fresh] = [values(before), values(after)];
  return [...new Set([...old.keys(), ...fresh.keys()])].filter((key) => old.get(key) !== fresh.get(key)).sort();
}

/** An invalid file changes nothing; in this build every changed key needs a restart, and is named. */
export function onHangUp(running: Valid, read: () => SettingsResult, log: Logger): void {
  process.on('SIGHUP', () => {
    try {
      const result = read();
      if (!result.ok) {
        for (const problem of result.problems)
          log.error('the settings file is invalid, nothing was changed', { problem: formatProblem(problem) });
        return;
      }
      const keys = changedKeys(running, result);
      log.info(
        keys.length === 0 ? 'the settings file was read: nothing differs' : 'the settings file was read: these keys need a restart',
        { keys },
      );
    } catch (thrown) {
      log.error('the settings file cannot be read, nothing was changed', { error: thrown });
    }
  });
}

/** What helps to see why a server is slow or stuck; no secret, no key, no host name. */
export function onDiagnose({ paths, clock, fleet, releases, startedAt, version, log }: ServerParts): void {
  process.on('SIGUSR1', () => {
    const now = clock.now();
    const { releases: held, ...summary } = summarize(fleet, now);
    const file = join(paths.temp, `diagnostics-${new Date(now).toISOString().replaceAll(':', '')}.json`);
    const facts = {
      version,
      node: process.version,
      up_s: Math.round((now - startedAt) / 1000),
      memory: process.memoryUsage(),
      resources: process.resourceUsage(),
      live_release: releases.live?.number ?? null,
      fleet: { ...summary, releases: Object.fromEntries(held), dirty: fleet.dirtyCount, index_bytes: fleet.bytes },
      handles: process.getActiveResourcesInfo(),
    };
    writeFileDurably(file, `${JSON.stringify(facts, null, 2)}\n`, 0o640);
    log.info('diagnostics were written', { file });
  });
}
