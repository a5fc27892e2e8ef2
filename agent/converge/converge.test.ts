/** Whole runs: order, triggers, failures, modes. */
import { chmodSync, existsSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { afterAll, beforeEach, describe, expect, jest, test } from '@jest/globals';
import { canonicalJson } from '../../core/base/json.ts';
import { exec, outcomeLines, runPolicy, TestFolder } from '../../test/harness/converge.ts';
import { policyFrom } from '../../test/harness/policy.ts';
import { defineExecutor, type Executor } from '../executors/executor.ts';
import { executorFor } from '../executors/index.ts';
import { SnapshotStore } from '../state/snapshots.ts';
import { LocalSystem } from '../system/local-system.ts';

// real processes: patience for a busy machine
jest.setTimeout(60_000);

const folder = new TestFolder();
beforeEach(() => folder.use());
afterAll(() => folder.remove());

describe('a policy on this machine', () => {
  test('first run creates, second changes nothing, drift is repaired, triggers run once', async () => {
    const modules = {
      web: `resources:
${folder.file('conf', '  mode: "0640"\n  notify: restart\n')}
${folder.file('other', '  notify: restart\n')}
${exec('restart', folder.touch('log'), '  when: changed\n')}`,
    };
    expect(outcomeLines(await runPolicy(modules))).toEqual([
      'web/conf created',
      'web/other created',
      'web/restart skipped trigger_only',
      'web/restart updated triggered',
    ]);
    expect(folder.read('log')).toBe('run\n');
    expect(statSync(folder.at('conf')).mode & 0o777).toBe(0o640);
    const second = await runPolicy(modules);
    expect(outcomeLines(second)).toEqual(['web/conf none', 'web/other none', 'web/restart skipped trigger_only']);
    expect(second.pendingTriggers).toEqual([]);
    writeFileSync(folder.at('conf'), 'drift');
    chmodSync(folder.at('other'), 0o777);
    const third = await runPolicy(modules);
    expect(outcomeLines(third)).toEqual([
      'web/conf updated',
      'web/other updated',
      'web/restart skipped trigger_only',
      'web/restart updated triggered',
    ]);
    expect(third.report.outcomes[1]?.changes).toEqual([{ attribute: 'mode', from: '0777', to: '0644' }]);
    expect(folder.read('log')).toBe('run\nrun\n');
  });

  test('a failed trigger is kept until it works, and goes when its target goes', async () => {
    const restart = exec('restart', `test -e ${folder.at('ready')}`, '  when: changed\n');
    const first = await runPolicy({ web: `resources:\n${folder.file('conf', '  notify: restart\n')}\n${restart}` });
    expect(outcomeLines(first).at(-1)).toBe('web/restart error exec_failed triggered');
    const triggers = first.pendingTriggers;
    expect(triggers).toEqual([{ module: 'web', resource: 'restart', by: ['web/conf'] }]);
    expect((await runPolicy({ web: `resources:\n${folder.file('conf')}` }, { input: { triggers } })).pendingTriggers).toEqual([]);
    writeFileSync(folder.at('ready'), '');
    const second = await runPolicy(
      { web: `resources:\n${folder.file('conf', '  notify: restart\n')}\n${restart}` },
      { input: { triggers } },
    );
    expect(outcomeLines(second).at(-1)).toBe('web/restart updated triggered');
    expect(second.pendingTriggers).toEqual([]);
  });

  test('dry run and observe look at everything, touch nothing and remember nothing', async () => {
    const modules = {
      web: `resources:\n${folder.file('conf', '  notify: restart\n')}\n${exec('guarded', folder.touch('log'), `  unless: touch ${folder.at('asked')}; false\n`)}\n${exec('restart', folder.touch('log'), '  when: changed\n')}`,
    };
    const triggers = [{ module: 'web', resource: 'restart', by: ['x'] }];
    for (const mode of ['dry_run', 'observe'] as const) {
      const result = await runPolicy(modules, { input: { mode, triggers } });
      expect(outcomeLines(result)).toEqual([
        'web/conf created would',
        'web/guarded updated would',
        'web/restart skipped trigger_only',
        'web/restart updated triggered would',
      ]);
      expect(result.report.mode).toBe(mode);
      expect(result.pendingTriggers).toBe(triggers);
    }
    expect(readdirSync(folder.path)).toEqual(['asked']);
  });

  test('a failure holds back what depends on it, all the way down, and nothing else', async () => {
    const result = await runPolicy({
      a: `resources:
${exec('broken', 'exit 3', '  onlyif: "true"\n')}
${folder.file('second', '  depends_on: broken\n')}
${folder.file('third', '  depends_on: second\n')}
${folder.file('apart')}
${exec('off', 'exit 1', "  onlyif: 'true'\n  when: os_family('rhel')\n")}
${folder.file('after-off', '  depends_on: off\n')}`,
      b: `depends_on: [a]\nresources:\n${folder.file('runs')}`,
      c: `resources:\n${exec('all-broken', 'exit 1', '  onlyif: "true"\n')}`,
      d: `depends_on: [c]\nresources:\n${folder.file('held')}`,
    });
    expect(outcomeLines(result)).toEqual([
      'a/broken error exec_failed',
      'a/second skipped dependency_failed',
      'a/third skipped dependency_failed',
      'a/apart created',
      'a/off skipped when_false',
      'a/after-off created',
      'b/runs created',
      'c/all-broken error exec_failed',
      'd/held skipped dependency_failed',
    ]);
    expect(result.report.outcomes[0]?.message).toBe('the command ended with 3');
  });

  test('loops of triggers end; module targets are the waiting resources, or all; modules may subscribe', async () => {
    const result = await runPolicy({
      a: `resources:\n${folder.file('source', '  notify: [b, c]\n')}\n${exec('ping', folder.touch('ping'), '  when: changed\n  notify: b/pong\n')}`,
      b: `resources:\n${exec('pong', folder.touch('pong'), '  when: changed\n  notify: a/ping\n')}\n${exec('pang', folder.touch('pang'), '  when: changed\n')}\n${folder.file('quiet')}`,
      c: `resources:\n${folder.file('plain')}`,
      d: `subscribes: [c]\nresources:\n${exec('heard', folder.touch('heard'), '  when: changed\n')}`,
    });
    expect(outcomeLines(result).filter((one) => one.includes('triggered'))).toEqual([
      'b/pong updated triggered',
      'a/ping updated triggered',
      'b/pang updated triggered',
      'c/plain none triggered',
      'd/heard updated triggered',
    ]);
    expect(result.pendingTriggers).toEqual([]);
    for (const name of ['ping', 'pong', 'pang', 'heard']) expect(folder.read(name)).toBe('run\n');
  });

  test('one module alone: others are filtered, triggers into them are kept', async () => {
    const modules = {
      a: `resources:\n${folder.file('x', '  notify: b/later\n')}`,
      b: `depends_on: [a]\nresources:\n${exec('later', folder.touch('later'), '  when: changed\n')}`,
    };
    const result = await runPolicy(modules, { input: { module: 'a' } });
    expect(outcomeLines(result)).toEqual(['a/x created', 'b/later skipped filtered']);
    expect(result.report.partial).toBe('filtered');
    expect(result.pendingTriggers).toEqual([{ module: 'b', resource: 'later', by: ['a/x'] }]);
    expect(outcomeLines(await runPolicy(modules, { input: { module: 'b', triggers: result.pendingTriggers } })).at(-1)).toBe(
      'b/later updated triggered',
    );
    await expect(runPolicy(modules, { input: { module: 'nope' } })).rejects.toMatchObject({ code: 'BAD_REQUEST' });
  });

  test('a run that must yield starts nothing more, in pass 2 too, and keeps its triggers', async () => {
    const modules = {
      a: `resources:\n${folder.file('x', '  notify: r\n')}\n${folder.file('y')}\n${exec('r', folder.touch('log'), '  when: changed\n')}`,
    };
    let asked = 0;
    const early = await runPolicy(modules, { input: { shouldYield: () => Promise.resolve(++asked > 1) } });
    expect(outcomeLines(early)).toEqual([
      'a/x created',
      'a/y skipped preempted',
      'a/r skipped preempted',
      'a/r skipped preempted triggered',
    ]);
    expect(early.report.partial).toBe('preempted');
    expect(early.pendingTriggers).toEqual([{ module: 'a', resource: 'r', by: ['a/x'] }]);
    rmSync(folder.at('x'));
    asked = -2;
    const late = await runPolicy(modules, { input: { shouldYield: () => Promise.resolve(++asked > 1) } });
    expect(outcomeLines(late).at(-1)).toBe('a/r skipped preempted triggered');
    expect(existsSync(folder.at('log'))).toBe(false);
  });

  test('what takes too long is stopped with everything it started', async () => {
    const started = Date.now();
    const result = await runPolicy({
      a: `resources:\n${exec('slow', `sleep 60 & echo $! > ${folder.at('pid')}; wait`, '  timeout: 1\n  onlyif: "true"\n')}\n${folder.file('next')}`,
    });
    expect(outcomeLines(result)).toEqual(['a/slow error timeout', 'a/next created']);
    expect(result.report.outcomes[0]?.message).toBe('took longer than 1 s');
    expect(Date.now() - started).toBeLessThan(40_000);
  });

  test('a change that does not last is an error', async () => {
    const stubborn: Executor = defineExecutor(executorFor('file')!.spec, {
      check: async () => [{ attribute: 'content', from: 'a', to: 'b' }],
      apply: async () => undefined,
    });
    expect(outcomeLines(await runPolicy({ a: `resources:\n${folder.file('x')}` }, { parts: { executorFor: () => stubborn } }))).toEqual([
      'a/x error verify_failed',
    ]);
  });

  test('a panic in an executor is that one resource, not the run', async () => {
    const broken: Executor = defineExecutor(executorFor('file')!.spec, {
      check: () => {
        throw new TypeError('undefined is not a function');
      },
      apply: async () => undefined,
    });
    const result = await runPolicy(
      { a: `resources:\n${folder.file('x')}\n${exec('y', folder.touch('y'), '  onlyif: "true"\n')}` },
      { parts: { executorFor: (type) => (type === 'file' ? broken : executorFor(type)) } },
    );
    expect(outcomeLines(result)).toEqual(['a/x error exec_failed', 'a/y updated']);
  });

  test('what a command says can always be reported: cut in the middle of a character, escapes, thousands of lines', async () => {
    const odd = `printf '%0499d' 0; printf '\\360\\237\\224\\221 \\033[31m\\377'; exit 1`;
    writeFileSync(folder.at('long'), 'x\n'.repeat(5_000));
    const result = await runPolicy({
      a: `resources:\n${exec('odd', odd, '  onlyif: "true"\n')}\n- name: long\n  type: file_line\n  target_path: ${folder.at('long')}\n  line: x\n  state: absent`,
    });
    expect(outcomeLines(result)).toEqual(['a/odd error exec_failed', 'a/long updated']);
    expect(() => canonicalJson(result.report)).not.toThrow();
    expect(result.report.outcomes[1]?.changes).toHaveLength(101);
    expect(result.report.outcomes[1]?.changes.at(-1)).toEqual({ attribute: 'more', from: null, to: '4900 further changes' });
    expect(folder.read('long')).toBe('');
  });

  test('an unknown type of a newer server is refused alone', async () => {
    const { body } = policyFrom({ a: `resources:\n${folder.file('x')}` });
    const newer = {
      ...body,
      modules: body.modules.map((module) => ({
        ...module,
        resources: [{ ...module.resources[0]!, type: 'teleport' }, ...module.resources],
      })),
    };
    expect(outcomeLines(await runPolicy({ a: `resources:\n${folder.file('x')}` }, { input: { body: newer } }))).toEqual([
      'a/x error unsupported',
      'a/x created',
    ]);
  });

  test('files are kept before they change, never those of secrets', async () => {
    const snapshots = new SnapshotStore(new LocalSystem(), { folder: folder.at('kept'), retention: 2 });
    const modules = {
      a: `resources:\n${folder.file('conf')}\n- name: key\n  type: file\n  target_path: ${folder.at('key')}\n  content: "k=secret:db/password"\n- name: gone\n  type: file\n  target_path: ${folder.at('gone')}\n  state: absent`,
    };
    for (const old of ['one', 'two', 'three']) {
      for (const name of ['conf', 'key', 'gone']) writeFileSync(folder.at(name), old);
      await runPolicy(modules, { secrets: { 'db/password': 'hunter22' }, parts: { snapshots } });
    }
    const kept = await snapshots.list();
    expect(kept.map(({ path, n, action, reason }) => [path.slice(folder.path.length + 1), n, action, reason])).toEqual([
      ['conf', 1, 'updated', undefined],
      ['conf', 2, 'updated', undefined],
      ['gone', 1, 'deleted', undefined],
      ['gone', 2, 'deleted', undefined],
      ['key', 1, 'updated', 'sensitive'],
      ['key', 2, 'updated', 'sensitive'],
    ]);
    expect((await snapshots.read(folder.at('conf'), 2)).data.toString()).toBe('two');
    expect(readdirSync(folder.at('kept/blobs')).length).toBe(2);
    await snapshots.restore(folder.at('gone'), 1, 'r');
    expect(folder.read('gone')).toBe('three');
    await expect(snapshots.read(folder.at('key'), 1)).rejects.toMatchObject({ code: 'BAD_REQUEST' });
  });
});
