/** Convergence states and streaks: the cases of the specification and the corners between them. */
import { describe, expect, test } from '@jest/globals';
import type { Action, RunReport } from '../../core/policy/outcome.ts';
import { afterRun, type ConvergenceRecord, noRuns, stateAt, withReset } from './convergence.ts';

type Run = Pick<RunReport, 'mode' | 'partial' | 'flags' | 'outcomes' | 'ended_at'>;
const POLICY = { policy: 'p1', secretsEpoch: 1 };

/** `web:updated db:none` */
function run(text: string, more: Partial<Run> = {}): Run {
  const outcomes = text
    .split(' ')
    .filter((word) => word !== '')
    .map((word) => {
      const [module, action] = word.split(':') as [string, Action];
      return { module, name: 'n', type: 'file', action, duration_ms: 1, triggered: false, would: false, changes: [] };
    });
  return { mode: 'enforce', flags: [], outcomes, ended_at: 5, ...more };
}

function enforced(runs: readonly string[], start: ConvergenceRecord = noRuns(), body = POLICY): ConvergenceRecord[] {
  let record = start;
  return runs.map((text) => {
    record = afterRun(record, run(text), body);
    return record;
  });
}

const short = (records: readonly ConvergenceRecord[]) => records.map(({ runState, streak, drift }) => `${runState} ${streak} ${drift}`);

describe('the streak', () => {
  test('after a publish the first changed run is the rollout, the fourth diverges, a clean one converges', () => {
    expect(short(enforced(['a:updated', 'a:updated', 'a:created', 'a:deleted', 'a:none']))).toEqual([
      'converged 0 none',
      'converged 1 changed',
      'relapsed 2 repeated',
      'diverged 3 repeated',
      'converged 0 none',
    ]);
  });

  test('a run with failures leaves it unchanged', () => {
    expect(short(enforced(['a:updated', 'a:updated', 'a:updated', 'a:error b:none', 'a:updated'])).slice(2)).toEqual([
      'relapsed 2 repeated',
      'degraded 2 repeated',
      'diverged 3 repeated',
    ]);
  });

  test('a clean first run ends the rollout: the next change is drift', () => {
    expect(short(enforced(['a:none', 'a:updated']))).toEqual(['converged 0 none', 'converged 1 changed']);
  });

  test('a rollout that failed halfway is still one when the next run finishes it', () => {
    expect(short(enforced(['a:updated b:error', 'a:none b:updated', 'b:updated']))).toEqual([
      'degraded 0 none',
      'converged 0 none',
      'converged 1 changed',
    ]);
  });

  const drifted = enforced(['a:none', 'a:updated', 'a:updated']).at(-1)!;
  test.each<[string, ConvergenceRecord, typeof POLICY, string]>([
    ['a policy that touches it', drifted, { policy: 'p2', secretsEpoch: 1 }, 'converged 0 none'],
    ['a changed secret', drifted, { policy: 'p1', secretsEpoch: 2 }, 'converged 0 none'],
    ['a forced push or the end of observing', withReset(drifted), POLICY, 'converged 0 none'],
    ['a publish that does not touch it', drifted, POLICY, 'diverged 3 repeated'],
  ])('%s', (_, start, body, expected) => {
    expect(short(enforced(['a:updated'], start, body))).toEqual([expected]);
  });
});

describe('the newest run', () => {
  test.each([
    ['a:none b:error', 'degraded', ''],
    ['a:updated b:blocked b:error', 'degraded', ''],
    ['a:error b:skipped', 'failed', ''],
    ['a:error b:blocked', 'failed', ''],
    ['a:none a:error', 'failed', ''],
    ['a:error a:none', 'failed', ''],
    ['a:blocked b:none', 'diverged', 'blocked'],
    ['a:blocked', 'diverged', 'blocked'],
    ['a:skipped b:skipped', 'converged', ''],
    ['', 'converged', ''],
  ])('%j is %s %s', (text, state, detail) => {
    expect(enforced([text])[0]).toMatchObject({ runState: state, detail, countedAt: 5, countedPolicy: 'p1' });
  });

  test('all skipped is clean', () => {
    expect(enforced(['a:skipped'])[0]).toMatchObject({ clean: true, streak: 0 });
  });

  test.each<[string, Partial<Run>]>([
    ['observe', { mode: 'observe' }],
    ['dry run', { mode: 'dry_run' }],
    ['undo', { mode: 'undo' }],
    ['filtered', { partial: 'filtered' }],
    ['preempted', { partial: 'preempted' }],
    ['aborted', { partial: 'aborted' }],
    ['without its secrets', { flags: ['incomplete'] }],
  ])('%s runs change nothing', (_, more) => {
    const before = enforced(['a:none', 'a:updated']).at(-1)!;
    expect(afterRun(before, run('a:error', more), { policy: 'p9', secretsEpoch: 9 })).toBe(before);
    expect(afterRun(noRuns(), run('a:error', more), POLICY).runState).toBe('no_data');
  });
});

describe('silence', () => {
  const record = enforced(['a:none'])[0]!;
  test.each([
    [45_000, 'converged'],
    [45_001, 'offline'],
  ])('at an interval of 15 s, %s ms after the last sign of life: %s', (silence, state) => {
    expect(stateAt(record, 1_000_000, 1_000_000 + silence, 15_000, 3)).toBe(state);
  });

  test('without any run there is no data, however long', () => {
    expect(stateAt(noRuns(), 0, 1e12, 15_000, 3)).toBe('no_data');
  });

  test('a run after the silence gives the former state back', () => {
    expect(stateAt(enforced(['a:none'], record)[0]!, 2_000_000, 2_000_001, 15_000, 3)).toBe('converged');
  });
});
