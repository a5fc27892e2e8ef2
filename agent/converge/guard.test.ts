/** Self-protection against everything that gives a path another name. */
import { linkSync, lstatSync, mkdirSync, readdirSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { afterAll, beforeEach, describe, expect, test } from '@jest/globals';
import { protect } from '../../core/policy/protected.ts';
import { exec, outcomeLines, runPolicy, TestFolder, TRAITS } from '../../test/harness/converge.ts';

const folder = new TestFolder();
beforeEach(() => folder.use());
afterAll(() => folder.remove());

describe('self-protection', () => {
  const owned = () => protect({ paths: [folder.at('agent')] });
  const guarded = (resources: string) =>
    runPolicy({ a: `resources:\n${resources}` }, { parts: { protectedSet: owned() }, allowProblems: true });
  const fileAt = (path: string, more = '  content: x\n') => `- name: f\n  type: file\n  target_path: ${path}\n${more}`;

  test('holds against links, second names, dots and doubled slashes', async () => {
    mkdirSync(folder.at('agent'));
    writeFileSync(folder.at('agent/key'), 'key', { mode: 0o600 });
    symlinkSync(folder.at('agent'), folder.at('door'));
    symlinkSync('door', folder.at('door2'));
    linkSync(folder.at('agent/key'), folder.at('harmless'));
    const cases: Record<string, string> = {
      direct: fileAt(folder.at('agent/new')),
      dots: fileAt(`${folder.path}/x/..//agent/./new`),
      link: fileAt(folder.at('door/new')),
      chain: fileAt(folder.at('door2/new')),
      'hard link': fileAt(folder.at('harmless'), '  mode: "0644"\n'),
      proc: fileAt(`/proc/self/root${folder.path}/agent/new`),
      line: `- name: f\n  type: file_line\n  target_path: ${folder.path}/door/key\n  line: x`,
      'directory above': `- name: f\n  type: directory\n  target_path: ${folder.path}\n  state: absent`,
      recurse: `- name: f\n  type: directory\n  target_path: ${folder.path}\n  recurse: true`,
      'new hard link': `- name: f\n  type: symlink\n  target_path: ${folder.path}/second\n  to: ${folder.path}/door/key\n  link_type: hard`,
      command: exec('f', `rm -rf ${folder.path}/agent`, '  onlyif: "true"\n'),
      guard: exec('f', 'true', `  onlyif: rm -rf ${folder.path}/agent\n`),
      'late path': fileAt('"{{ .Traits.place }}/new"'),
    };
    for (const [what, resources] of Object.entries(cases)) {
      const input = { traits: { ...TRAITS, place: folder.at('door') } };
      const result = await runPolicy({ a: `resources:\n${resources}` }, { parts: { protectedSet: owned() }, allowProblems: true, input });
      expect([what, ...outcomeLines(result)]).toEqual([what, 'a/f error guardrail']);
    }
    expect(readdirSync(folder.at('agent'))).toEqual(['key']);
    expect(statSync(folder.at('agent/key')).mode & 0o777).toBe(0o600);
  });

  test('lets its neighbours be', async () => {
    mkdirSync(folder.at('agent'));
    expect(outcomeLines(await guarded(fileAt(folder.at('agent2'))))).toEqual(['a/f created']);
    expect(
      outcomeLines(await guarded(`- name: f\n  type: symlink\n  target_path: ${folder.path}/link\n  to: ${folder.path}/agent`)),
    ).toEqual(['a/f created']);
    expect(lstatSync(folder.at('link')).isSymbolicLink()).toBe(true);
  });
});
