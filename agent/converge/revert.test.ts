/** Undoing. */
import { readdirSync } from 'node:fs';
import { afterAll, beforeEach, describe, expect, test } from '@jest/globals';
import type { Answer } from '../../test/fakes/fake-system.ts';
import { FakeSystem } from '../../test/fakes/fake-system.ts';
import { memoryFacts } from '../../test/fakes/memory-facts.ts';
import { exec, outcomeLines, runPolicy, TestFolder } from '../../test/harness/converge.ts';
import type { ConvergeInput } from './run-parts.ts';

const folder = new TestFolder();
beforeEach(() => folder.use());
afterAll(() => folder.remove());

describe('undoing', () => {
  const answers: Answer[] = [
    { argv: ['hostname'], stdout: 'first\n' },
    { argv: ['hostname', 'second'], files: { '/etc/hostname': 'second\n' } },
    { argv: ['hostname'], stdout: 'second\n' },
    { argv: ['hostname'], stdout: 'second\n' },
    { argv: ['hostname', 'first'] },
    { argv: ['hostname'], stdout: 'first\n' },
  ];

  test('puts back what was found before the first change, once', async () => {
    const system = new FakeSystem({ files: { '/etc/hostname': 'first\n' }, run: answers });
    const memory = memoryFacts();
    const name = (more: string) => ({ a: `resources:\n- name: n\n  type: hostname\n  hostname: second\n${more}` });
    expect(outcomeLines(await runPolicy(name(''), { system, parts: { memory } }))).toEqual(['a/n updated']);
    expect(outcomeLines(await runPolicy(name('  revert: true\n'), { system, parts: { memory } }))).toEqual(['a/n updated reverted']);
    expect((await system.readFile('/etc/hostname'))?.toString()).toBe('first\n');
    const before = system.ran.length;
    expect(outcomeLines(await runPolicy(name('  revert: true\n'), { system, parts: { memory } }))).toEqual(['a/n none']);
    expect(system.ran.length).toBe(before);
    memory.rows.clear();
    expect(outcomeLines(await runPolicy(name('  revert: true\n'), { system, parts: { memory } }))).toEqual(['a/n error exec_failed']);
  });

  test('removes what has an absent state, runs the inverse of a command, and is armed again by an apply', async () => {
    const memory = memoryFacts();
    const both = (more: string) => ({
      a: `resources:\n${folder.file('f', more)}\n${exec('c', folder.touch('done'), `  creates: ${folder.at('done')}\n  on_revert: "rm ${folder.at('done')}"\n${more}`)}`,
    });
    const apply = () => runPolicy(both(''), { parts: { memory } });
    const undo = (input: Partial<ConvergeInput> = {}) => runPolicy(both('  revert: true\n'), { parts: { memory }, input });
    expect(outcomeLines(await apply())).toEqual(['a/f created', 'a/c updated']);
    expect(outcomeLines(await undo({ mode: 'dry_run' }))).toEqual(['a/f deleted reverted would', 'a/c updated reverted would']);
    expect(outcomeLines(await undo())).toEqual(['a/f deleted reverted', 'a/c updated reverted']);
    expect(readdirSync(folder.path)).toEqual([]);
    expect(outcomeLines(await undo())).toEqual(['a/f none', 'a/c none']);
    expect(outcomeLines(await apply())).toEqual(['a/f created', 'a/c updated']);
    expect(outcomeLines(await undo())).toEqual(['a/f deleted reverted', 'a/c updated reverted']);
  });
});
