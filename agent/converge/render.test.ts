/** Conditions, variables, templates and secrets of whole runs. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeEach, describe, expect, jest, test } from '@jest/globals';
import { FakeSystem } from '../../test/fakes/fake-system.ts';
import { outcomeLines, PRIVATE_FOLDER, runPolicy, TestFolder } from '../../test/harness/converge.ts';
import { policyFrom } from '../../test/harness/policy.ts';
import type { SecretLookup } from '../secret-source.ts';

// real processes: patience for a busy machine
jest.setTimeout(60_000);

const folder = new TestFolder();
beforeEach(() => folder.use());
afterAll(() => folder.remove());

describe('conditions, variables and templates', () => {
  test('conditions see the machine as earlier resources left it', async () => {
    const result = await runPolicy(
      {
        a: `resources:
${folder.file('x', `  when: "!file_exists('${folder.at('x')}')"\n`)}
${folder.file('y', `  when: file_exists('${folder.at('x')}')\n`)}
${folder.file('z', "  when: os_family('bsd')\n")}
${folder.file('no-trait', "  when: version_ge('1')\n")}
${folder.file('no-bool', '  when: "{{ .Traits.os.distro }}"\n')}`,
      },
      { input: { traits: { os: { family: 'debian', distro: 'debian' } } } },
    );
    expect(outcomeLines(result)).toEqual([
      'a/x created',
      'a/y created',
      'a/z skipped when_false',
      'a/no-trait error eval_error',
      'a/no-bool error eval_error',
    ]);
  });

  test('a module is asked once; its undecidable condition is an error of all its resources', async () => {
    const result = await runPolicy(
      {
        off: `when: "os_family('rhel')"\nresources:\n${folder.file('a')}`,
        odd: `when: "has_package('x')"\nresources:\n${folder.file('b')}\n${folder.file('c')}`,
      },
      { system: new FakeSystem({ files: { [folder.path]: { kind: 'directory' } } }) },
    );
    expect(outcomeLines(result)).toEqual(['off/a skipped when_false', 'odd/b error eval_error', 'odd/c error eval_error']);
  });

  test('command_succeeds runs once a run, and one that hangs is an error', async () => {
    const asked = `command_succeeds('echo x >> ${folder.at('asked')}')`;
    await runPolicy({ a: `resources:\n${folder.file('x', `  when: "${asked}"\n`)}\n${folder.file('y', `  when: "${asked}"\n`)}` });
    expect(folder.read('asked')).toBe('x\n');
  });

  test('variables in their layers, with those that hold only here', async () => {
    const result = await runPolicy(
      {
        a: `vars: {port: 1, name: own, gone: x}\nvars_when:\n- when: os_family('debian')\n  vars: {name: debian, gone: null}\n- when: os_family('rhel')\n  vars: {name: rhel}\nresources:\n- name: f\n  type: file\n  target_path: ${folder.at('f')}\n  content: "{{ .Vars.port }} {{ .Vars.name }} {{ .Vars.gone | default \\"none\\" }} {{ .Envoy.hostname }} {{ .Module }} {{ .Name }}"`,
      },
      { vars: 'vars: {port: 80}\n' },
    );
    expect(outcomeLines(result)).toEqual(['a/f created']);
    expect(folder.read('f')).toBe('80 debian none web01.example.com a f');
  });

  test('a block of variables that cannot be decided is left out and counted', async () => {
    const result = await runPolicy(
      {
        a: `vars: {v: base}\nvars_when:\n- when: has_package('x')\n  vars: {v: late}\nresources:\n- name: f\n  type: file\n  target_path: /f\n  content: "{{ .Vars.v }}"`,
      },
      { system: new FakeSystem() },
    );
    expect(outcomeLines(result)).toEqual(['(vars)/vars_when error eval_error', 'a/f created']);
    expect(result.report.flags).toEqual(['vars_errors']);
  });

  test('what comes from the machine is data: no action, no shell word, no secret in it comes alive', async () => {
    const result = await runPolicy(
      {
        a: `resources:\n- name: f\n  type: file\n  target_path: ${folder.at('f')}\n  content: "{{ .Traits.evil }}"\n- name: g\n  type: exec\n  command: "printf %s {{ .Traits.evil | squote }} > ${folder.at('g')}"\n  creates: ${folder.at('g')}\n- name: needs\n  type: file\n  target_path: ${folder.at('n')}\n  content: secret:db/password`,
      },
      { secrets: { 'db/password': 'hunter22' } },
    );
    expect(outcomeLines(result)).toEqual(['a/f created', 'a/g updated', 'a/needs created']);
    expect(folder.read('f')).toBe('x{{ .Vars.port }}`$(reboot)`sec:db/password');
    expect(folder.read('g')).toBe('x{{ .Vars.port }}`$(reboot)`sec:db/password');
  });

  test('a missing key is an error of its resource; a rendered value that does not fit its attribute too', async () => {
    const result = await runPolicy({
      a: `resources:\n- name: f\n  type: file\n  target_path: ${folder.at('f')}\n  content: "{{ .Traits.nope.deep }}"\n- name: g\n  type: file\n  target_path: ${folder.at('g')}\n  mode: "{{ .Traits.os.distro }}"\n${folder.file('h')}`,
    });
    expect(outcomeLines(result)).toEqual(['a/f error eval_error', 'a/g error eval_error', 'a/h created']);
    expect(result.report.outcomes[0]?.message).toContain('.Traits.nope.deep');
  });

  test('case chooses by what the machine is', async () => {
    const result = await runPolicy({
      a: `resources:\n- name: f\n  type: file\n  target_path: ${folder.at('f')}\n  case: "{{ .Traits.os.family }}"\n  match: { debian: { content: deb }, default: { content: other } }`,
    });
    expect(outcomeLines(result)).toEqual(['a/f created']);
    expect(folder.read('f')).toBe('deb');
  });

  test('a relative source is a template of the tree; one that is no text is written as it is', async () => {
    const { body } = policyFrom(
      {
        a: `resources:\n- name: f\n  type: file\n  target_path: ${folder.at('f')}\n  source: templates/f.tmpl\n- name: g\n  type: file\n  target_path: ${folder.at('g')}\n  source: templates/g.bin`,
      },
      '',
      { 'templates/f.tmpl': 'ip={{ index .Traits.network.ip_addresses 0 }}\n', 'templates/g.bin': 'x' },
    );
    const bytes = Buffer.from([0xff, 0x00, 0x7b, 0x7b]);
    const templates = { ...body.templates, 'templates/g.bin': `\u0001raw:${bytes.toString('base64')}` };
    expect(
      outcomeLines(await runPolicy({ a: `resources:\n${folder.file('unused')}` }, { input: { body: { ...body, templates } } })),
    ).toEqual(['a/f created', 'a/g created']);
    expect(folder.read('f')).toBe('ip=10.0.1.5\n');
    expect(readFileSync(folder.at('g')).equals(bytes)).toBe(true);
  });

  test('a loop variable reaches programs', async () => {
    await runPolicy({
      a: `vars: {users: [{name: ann, keys: [k1, k2]}, {name: bob, keys: []}]}\nresources:\n- name: "User {{ .Item.name }}"\n  type: file\n  foreach: users\n  target_path: "${folder.path}/{{ .Item.name }}"\n  content: "{{ range .Item.keys }}{{ . }},{{ end }}{{ .Index }}"`,
    });
    expect([folder.read('ann'), folder.read('bob')]).toEqual(['k1,k2,0', '1']);
  });
});

describe('secrets', () => {
  const modules = () => ({
    a: `vars: {pw: "secret:db/password"}
resources:
- name: text
  type: file
  target_path: ${folder.at('text')}
  content: "dsn=u:secret:db/password@h and {{ .Vars.pw | sha256 }}"
- name: hidden
  type: exec
  command: "cat; cat /dev/null; exit 4"
  stdin: secret:db/password
  onlyif: "true"
- name: to-file
  type: exec
  command: "cp {{secret_file}} ${'$'}{PWD}/copy; stat -c %a {{ secret_file }}"
  cwd: ${folder.path}
  secret_file: "{{ .Vars.pw }}"
  onlyif: "true"
- name: innocent
  type: exec
  command: "cat ${folder.at('copy')}; base64 ${folder.at('copy')}"
  onlyif: "true"`,
  });

  test('reach files and standard input, and no report', async () => {
    const value = 'hun{{ .Vars.x }}ter\u{1F511}22';
    const result = await runPolicy(modules(), { secrets: { 'db/password': value } });
    expect(outcomeLines(result)).toEqual(['a/text created', 'a/hidden error exec_failed', 'a/to-file updated', 'a/innocent updated']);
    expect(folder.read('text').startsWith(`dsn=u:${value}@h and `)).toBe(true);
    expect(folder.read('copy')).toBe(value);
    const [text, hidden, , innocent] = result.report.outcomes;
    expect([text?.changes, text?.output, hidden?.message]).toEqual([[], undefined, undefined]);
    expect(hidden?.output).toBe(`[output withheld: ${Buffer.byteLength(value)} bytes]`);
    expect(innocent?.output).toContain('[secret]');
    const report = JSON.stringify(result.report);
    for (const form of [value, Buffer.from(value).toString('base64')]) expect(report).not.toContain(form);
    expect(readdirSync(join(PRIVATE_FOLDER, String(process.pid)))).toEqual([]);
  });

  test('without a value only what needs it is held back, with all that depends on it', async () => {
    const text = {
      a: `vars: {pw: "secret:db/password", plain: p}\nresources:\n- name: direct\n  type: file\n  target_path: ${folder.at('d')}\n  content: secret:db/password\n- name: by-var\n  type: file\n  target_path: ${folder.at('v')}\n  content: "{{ .Vars.pw | sha256 }}"\n- name: after\n  type: file\n  target_path: ${folder.at('after')}\n  depends_on: direct\n- name: plain\n  type: file\n  target_path: ${folder.at('p')}\n  content: "{{ .Vars.plain }}"\n- name: all\n  type: file\n  target_path: ${folder.at('a')}\n  content: "{{ range $k, $v := .Vars }}{{ $k }}{{ end }}"`,
    };
    const away = await runPolicy(text);
    expect(outcomeLines(away)).toEqual([
      'a/direct skipped secret_unavailable',
      'a/by-var skipped secret_unavailable',
      'a/after skipped dependency_failed',
      'a/plain created',
      'a/all skipped secret_unavailable',
    ]);
    expect(away.report.flags).toEqual(['incomplete']);
    expect(outcomeLines(await runPolicy(text, { secrets: { 'db/password': { status: 'denied' } } })).slice(0, 2)).toEqual([
      'a/direct error secret_denied',
      'a/by-var error secret_denied',
    ]);
    expect(outcomeLines(await runPolicy(text, { secrets: { 'db/password': { status: 'missing' } } }))[0]).toBe(
      'a/direct error secret_missing',
    );
  });

  test('are asked for once, and only those the run may read', async () => {
    const asked: (readonly string[])[] = [];
    const secrets = async (refs: readonly string[]) => {
      asked.push(refs);
      return new Map<string, SecretLookup>();
    };
    const text = {
      a: `resources:\n- name: f\n  type: file\n  target_path: ${folder.at('f')}\n  content: secret:a/one secret:a/two`,
      b: `resources:\n- name: g\n  type: file\n  target_path: ${folder.at('g')}\n  content: secret:b/one`,
    };
    await runPolicy(text, { input: { secrets } });
    await runPolicy(text, { input: { secrets, module: 'b' } });
    expect(asked).toEqual([['a/one', 'a/two', 'b/one'], ['b/one']]);
  });
});
