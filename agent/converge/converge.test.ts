/** Whole runs of compiled policies, on a machine in memory and on this one. */
import {
  chmodSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeEach, describe, expect, test } from '@jest/globals';
import { systemClock } from '../../core/base/clock.ts';
import { canonicalJson, type Json } from '../../core/base/json.ts';
import { Redactor } from '../../core/base/redaction.ts';
import { SecretValue } from '../../core/base/secret-value.ts';
import { type Outcome, runReportSchema } from '../../core/policy/outcome.ts';
import { protect } from '../../core/policy/protected.ts';
import { type Answer, FakeSystem } from '../../test/fakes/fake-system.ts';
import { memoryFacts } from '../../test/fakes/memory-facts.ts';
import { quietLog } from '../../test/fakes/quiet-log.ts';
import { policyFrom } from '../../test/harness/policy.ts';
import { defineExecutor, type Executor } from '../executors/executor.ts';
import { executorFor } from '../executors/index.ts';
import type { SecretLookup } from '../secret-source.ts';
import { SnapshotStore } from '../state/snapshots.ts';
import { LocalSystem } from '../system/local-system.ts';
import { openMachine } from '../system/machine.ts';
import type { System } from '../system/system.ts';
import { converge } from './converge.ts';
import type { Converged, ConvergeInput, ConvergeParts } from './run-parts.ts';

const home = mkdtempSync(join(tmpdir(), 'vigo-run-'));
let folder = home;
let count = 0;
beforeEach(() => {
  count += 1;
  folder = join(home, String(count));
  mkdirSync(folder);
});
afterAll(() => rmSync(home, { recursive: true, force: true }));

const TRAITS: Record<string, Json> = {
  os: { family: 'debian', distro: 'debian', version: '12', arch: 'amd64' },
  network: { hostname: 'web01', ip_addresses: ['10.0.1.5'] },
  evil: 'x{{ .Vars.port }}`$(reboot)`\u0001sec:db/password\u0001',
};

interface Setting {
  readonly system?: System;
  readonly vars?: string;
  readonly tree?: Record<string, string>;
  readonly secrets?: Record<string, SecretLookup | string>;
  readonly parts?: Partial<ConvergeParts>;
  readonly input?: Partial<ConvergeInput>;
  readonly allowProblems?: boolean;
}

const redactor = new Redactor();

async function run(modules: Record<string, string>, setting: Setting = {}): Promise<Converged> {
  const { body, errors } = policyFrom(modules, setting.vars, setting.tree);
  if (setting.allowProblems !== true) expect(errors).toEqual([]);
  const secrets = new Map(
    Object.entries(setting.secrets ?? {}).map(([ref, one]): [string, SecretLookup] => [
      ref,
      typeof one === 'string' ? { status: 'ok', value: new SecretValue(one) } : one,
    ]),
  );
  for (const one of secrets.values()) if (one.status === 'ok') redactor.add(one.value.reveal());
  const machine = await openMachine(setting.system ?? new LocalSystem({ privateFolder: join(home, 'private') }));
  const result = await converge(
    { machine, clock: systemClock, log: quietLog(), redactor, memory: memoryFacts(), ...setting.parts },
    {
      runId: '0192f0c1-2345-7000-8000-000000000001',
      body,
      bodyHash: 'ab'.repeat(32),
      header: { owner_epoch: 1, epoch: 1, seq: 7 },
      envoy: { id: 'e', hostname: 'web01.example.com' },
      traits: TRAITS,
      mode: 'enforce',
      triggers: [],
      secrets: () => Promise.resolve(secrets),
      signal: new AbortController().signal,
      ...setting.input,
    },
  );
  // what leaves the agent has the shape the server expects
  expect(() => runReportSchema.parse(result.report)).not.toThrow();
  return result;
}

const line = ({ module, name, action, reason, triggered, would }: Outcome) =>
  `${module}/${name} ${action}${reason === undefined ? '' : ` ${reason}`}${triggered ? ' triggered' : ''}${would ? ' would' : ''}`;
const lines = ({ report }: Converged) => report.outcomes.map(line);
const file = (name: string, more = '') =>
  `- name: ${name}\n  type: file\n  target_path: ${join(folder, name)}\n  content: ${name}\n${more}`;
const exec = (name: string, command: string, more = '') => `- name: ${name}\n  type: exec\n  command: ${JSON.stringify(command)}\n${more}`;
const touch = (name: string) => `echo run >> ${join(folder, name)}`;
const read = (name: string) => readFileSync(join(folder, name), 'utf8');

describe('a policy on this machine', () => {
  test('first run creates, second changes nothing, drift is repaired, triggers run once', async () => {
    const modules = {
      web: `resources:
${file('conf', '  mode: "0640"\n  notify: restart\n')}
${file('other', '  notify: restart\n')}
${exec('restart', touch('log'), '  when: changed\n')}`,
    };
    expect(lines(await run(modules))).toEqual([
      'web/conf created',
      'web/other created',
      'web/restart skipped trigger_only',
      'web/restart updated triggered',
    ]);
    expect(read('log')).toBe('run\n');
    expect(statSync(join(folder, 'conf')).mode & 0o777).toBe(0o640);
    const second = await run(modules);
    expect(lines(second)).toEqual(['web/conf none', 'web/other none', 'web/restart skipped trigger_only']);
    expect(second.pendingTriggers).toEqual([]);
    writeFileSync(join(folder, 'conf'), 'drift');
    chmodSync(join(folder, 'other'), 0o777);
    const third = await run(modules);
    expect(lines(third)).toEqual([
      'web/conf updated',
      'web/other updated',
      'web/restart skipped trigger_only',
      'web/restart updated triggered',
    ]);
    expect(third.report.outcomes[1]?.changes).toEqual([{ attribute: 'mode', from: '0777', to: '0644' }]);
    expect(read('log')).toBe('run\nrun\n');
  });

  test('a failed trigger is kept until it works, and goes when its target goes', async () => {
    const restart = exec('restart', `test -e ${join(folder, 'ready')}`, '  when: changed\n');
    const first = await run({ web: `resources:\n${file('conf', '  notify: restart\n')}\n${restart}` });
    expect(lines(first).at(-1)).toBe('web/restart error exec_failed triggered');
    const triggers = first.pendingTriggers;
    expect(triggers).toEqual([{ module: 'web', resource: 'restart', by: ['web/conf'] }]);
    expect((await run({ web: `resources:\n${file('conf')}` }, { input: { triggers } })).pendingTriggers).toEqual([]);
    writeFileSync(join(folder, 'ready'), '');
    const second = await run({ web: `resources:\n${file('conf', '  notify: restart\n')}\n${restart}` }, { input: { triggers } });
    expect(lines(second).at(-1)).toBe('web/restart updated triggered');
    expect(second.pendingTriggers).toEqual([]);
  });

  test('dry run and observe look at everything, touch nothing and remember nothing', async () => {
    const modules = {
      web: `resources:\n${file('conf', '  notify: restart\n')}\n${exec('guarded', touch('log'), `  unless: touch ${join(folder, 'asked')}; false\n`)}\n${exec('restart', touch('log'), '  when: changed\n')}`,
    };
    const triggers = [{ module: 'web', resource: 'restart', by: ['x'] }];
    for (const mode of ['dry_run', 'observe'] as const) {
      const result = await run(modules, { input: { mode, triggers } });
      expect(lines(result)).toEqual([
        'web/conf created would',
        'web/guarded updated would',
        'web/restart skipped trigger_only',
        'web/restart updated triggered would',
      ]);
      expect(result.report.mode).toBe(mode);
      expect(result.pendingTriggers).toBe(triggers);
    }
    expect(readdirSync(folder)).toEqual(['asked']);
  });

  test('a failure holds back what depends on it, all the way down, and nothing else', async () => {
    const result = await run({
      a: `resources:
${exec('broken', 'exit 3', '  onlyif: "true"\n')}
${file('second', '  depends_on: broken\n')}
${file('third', '  depends_on: second\n')}
${file('apart')}
${exec('off', 'exit 1', "  onlyif: 'true'\n  when: os_family('rhel')\n")}
${file('after-off', '  depends_on: off\n')}`,
      b: `depends_on: [a]\nresources:\n${file('runs')}`,
      c: `resources:\n${exec('all-broken', 'exit 1', '  onlyif: "true"\n')}`,
      d: `depends_on: [c]\nresources:\n${file('held')}`,
    });
    expect(lines(result)).toEqual([
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
    const result = await run({
      a: `resources:\n${file('source', '  notify: [b, c]\n')}\n${exec('ping', touch('ping'), '  when: changed\n  notify: b/pong\n')}`,
      b: `resources:\n${exec('pong', touch('pong'), '  when: changed\n  notify: a/ping\n')}\n${exec('pang', touch('pang'), '  when: changed\n')}\n${file('quiet')}`,
      c: `resources:\n${file('plain')}`,
      d: `subscribes: [c]\nresources:\n${exec('heard', touch('heard'), '  when: changed\n')}`,
    });
    expect(lines(result).filter((one) => one.includes('triggered'))).toEqual([
      'b/pong updated triggered',
      'a/ping updated triggered',
      'b/pang updated triggered',
      'c/plain none triggered',
      'd/heard updated triggered',
    ]);
    expect(result.pendingTriggers).toEqual([]);
    for (const name of ['ping', 'pong', 'pang', 'heard']) expect(read(name)).toBe('run\n');
  });

  test('one module alone: others are filtered, triggers into them are kept', async () => {
    const modules = {
      a: `resources:\n${file('x', '  notify: b/later\n')}`,
      b: `depends_on: [a]\nresources:\n${exec('later', touch('later'), '  when: changed\n')}`,
    };
    const result = await run(modules, { input: { module: 'a' } });
    expect(lines(result)).toEqual(['a/x created', 'b/later skipped filtered']);
    expect(result.report.partial).toBe('filtered');
    expect(result.pendingTriggers).toEqual([{ module: 'b', resource: 'later', by: ['a/x'] }]);
    expect(lines(await run(modules, { input: { module: 'b', triggers: result.pendingTriggers } })).at(-1)).toBe(
      'b/later updated triggered',
    );
    await expect(run(modules, { input: { module: 'nope' } })).rejects.toMatchObject({ code: 'BAD_REQUEST' });
  });

  test('a run that must yield starts nothing more, in pass 2 too, and keeps its triggers', async () => {
    const modules = { a: `resources:\n${file('x', '  notify: r\n')}\n${file('y')}\n${exec('r', touch('log'), '  when: changed\n')}` };
    let asked = 0;
    const early = await run(modules, { input: { shouldYield: () => Promise.resolve(++asked > 1) } });
    expect(lines(early)).toEqual(['a/x created', 'a/y skipped preempted', 'a/r skipped preempted', 'a/r skipped preempted triggered']);
    expect(early.report.partial).toBe('preempted');
    expect(early.pendingTriggers).toEqual([{ module: 'a', resource: 'r', by: ['a/x'] }]);
    rmSync(join(folder, 'x'));
    asked = -2;
    const late = await run(modules, { input: { shouldYield: () => Promise.resolve(++asked > 1) } });
    expect(lines(late).at(-1)).toBe('a/r skipped preempted triggered');
    expect(existsSync(join(folder, 'log'))).toBe(false);
  });

  test('what takes too long is stopped with everything it started', async () => {
    const started = Date.now();
    const result = await run({
      a: `resources:\n${exec('slow', `sleep 30 & echo $! > ${join(folder, 'pid')}; wait`, '  timeout: 1\n  onlyif: "true"\n')}\n${file('next')}`,
    });
    expect(lines(result)).toEqual(['a/slow error timeout', 'a/next created']);
    expect(result.report.outcomes[0]?.message).toBe('took longer than 1 s');
    expect(Date.now() - started).toBeLessThan(9_000);
  });

  test('a change that does not last is an error', async () => {
    const stubborn: Executor = defineExecutor(executorFor('file')!.spec, {
      check: async () => [{ attribute: 'content', from: 'a', to: 'b' }],
      apply: async () => undefined,
    });
    expect(lines(await run({ a: `resources:\n${file('x')}` }, { parts: { executorFor: () => stubborn } }))).toEqual([
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
    const result = await run(
      { a: `resources:\n${file('x')}\n${exec('y', touch('y'), '  onlyif: "true"\n')}` },
      { parts: { executorFor: (type) => (type === 'file' ? broken : executorFor(type)) } },
    );
    expect(lines(result)).toEqual(['a/x error exec_failed', 'a/y updated']);
  });

  test('what a command says can always be reported: cut in the middle of a character, escapes, thousands of lines', async () => {
    const odd = `printf '%0499d' 0; printf '\\360\\237\\224\\221 \\033[31m\\377'; exit 1`;
    writeFileSync(join(folder, 'long'), 'x\n'.repeat(5_000));
    const result = await run({
      a: `resources:\n${exec('odd', odd, '  onlyif: "true"\n')}\n- name: long\n  type: file_line\n  target_path: ${join(folder, 'long')}\n  line: x\n  state: absent`,
    });
    expect(lines(result)).toEqual(['a/odd error exec_failed', 'a/long updated']);
    expect(() => canonicalJson(result.report)).not.toThrow();
    expect(result.report.outcomes[1]?.changes).toHaveLength(101);
    expect(result.report.outcomes[1]?.changes.at(-1)).toEqual({ attribute: 'more', from: null, to: '4900 further changes' });
    expect(read('long')).toBe('');
  });

  test('an unknown type of a newer server is refused alone', async () => {
    const { body } = policyFrom({ a: `resources:\n${file('x')}` });
    const newer = {
      ...body,
      modules: body.modules.map((module) => ({
        ...module,
        resources: [{ ...module.resources[0]!, type: 'teleport' }, ...module.resources],
      })),
    };
    expect(lines(await run({ a: `resources:\n${file('x')}` }, { input: { body: newer } }))).toEqual([
      'a/x error unsupported',
      'a/x created',
    ]);
  });

  test('files are kept before they change, never those of secrets', async () => {
    const snapshots = new SnapshotStore(new LocalSystem(), { folder: join(folder, 'kept'), retention: 2 });
    const modules = {
      a: `resources:\n${file('conf')}\n- name: key\n  type: file\n  target_path: ${join(folder, 'key')}\n  content: "k=secret:db/password"\n- name: gone\n  type: file\n  target_path: ${join(folder, 'gone')}\n  state: absent`,
    };
    for (const old of ['one', 'two', 'three']) {
      for (const name of ['conf', 'key', 'gone']) writeFileSync(join(folder, name), old);
      await run(modules, { secrets: { 'db/password': 'hunter22' }, parts: { snapshots } });
    }
    const kept = await snapshots.list();
    expect(kept.map(({ path, n, action, reason }) => [path.slice(folder.length + 1), n, action, reason])).toEqual([
      ['conf', 1, 'updated', undefined],
      ['conf', 2, 'updated', undefined],
      ['gone', 1, 'deleted', undefined],
      ['gone', 2, 'deleted', undefined],
      ['key', 1, 'updated', 'sensitive'],
      ['key', 2, 'updated', 'sensitive'],
    ]);
    expect((await snapshots.read(join(folder, 'conf'), 2)).data.toString()).toBe('two');
    expect(readdirSync(join(folder, 'kept/blobs')).length).toBe(2);
    await snapshots.restore(join(folder, 'gone'), 1, 'r');
    expect(read('gone')).toBe('three');
    await expect(snapshots.read(join(folder, 'key'), 1)).rejects.toMatchObject({ code: 'BAD_REQUEST' });
  });
});

describe('self-protection', () => {
  const owned = () => protect({ paths: [join(folder, 'agent')] });
  const guarded = (resources: string) => run({ a: `resources:\n${resources}` }, { parts: { protectedSet: owned() }, allowProblems: true });
  const fileAt = (path: string, more = '  content: x\n') => `- name: f\n  type: file\n  target_path: ${path}\n${more}`;

  test('holds against links, second names, dots and doubled slashes', async () => {
    mkdirSync(join(folder, 'agent'));
    writeFileSync(join(folder, 'agent/key'), 'key', { mode: 0o600 });
    symlinkSync(join(folder, 'agent'), join(folder, 'door'));
    symlinkSync('door', join(folder, 'door2'));
    linkSync(join(folder, 'agent/key'), join(folder, 'harmless'));
    const cases: Record<string, string> = {
      direct: fileAt(join(folder, 'agent/new')),
      dots: fileAt(`${folder}/x/..//agent/./new`),
      link: fileAt(join(folder, 'door/new')),
      chain: fileAt(join(folder, 'door2/new')),
      'hard link': fileAt(join(folder, 'harmless'), '  mode: "0644"\n'),
      proc: fileAt(`/proc/self/root${folder}/agent/new`),
      line: `- name: f\n  type: file_line\n  target_path: ${folder}/door/key\n  line: x`,
      'directory above': `- name: f\n  type: directory\n  target_path: ${folder}\n  state: absent`,
      recurse: `- name: f\n  type: directory\n  target_path: ${folder}\n  recurse: true`,
      'new hard link': `- name: f\n  type: symlink\n  target_path: ${folder}/second\n  to: ${folder}/door/key\n  link_type: hard`,
      command: exec('f', `rm -rf ${folder}/agent`, '  onlyif: "true"\n'),
      guard: exec('f', 'true', `  onlyif: rm -rf ${folder}/agent\n`),
      'late path': fileAt('"{{ .Traits.place }}/new"'),
    };
    for (const [what, resources] of Object.entries(cases)) {
      const input = { traits: { ...TRAITS, place: join(folder, 'door') } };
      const result = await run({ a: `resources:\n${resources}` }, { parts: { protectedSet: owned() }, allowProblems: true, input });
      expect([what, ...lines(result)]).toEqual([what, 'a/f error guardrail']);
    }
    expect(readdirSync(join(folder, 'agent'))).toEqual(['key']);
    expect(statSync(join(folder, 'agent/key')).mode & 0o777).toBe(0o600);
  });

  test('lets its neighbours be', async () => {
    mkdirSync(join(folder, 'agent'));
    expect(lines(await guarded(fileAt(join(folder, 'agent2'))))).toEqual(['a/f created']);
    expect(lines(await guarded(`- name: f\n  type: symlink\n  target_path: ${folder}/link\n  to: ${folder}/agent`))).toEqual([
      'a/f created',
    ]);
    expect(lstatSync(join(folder, 'link')).isSymbolicLink()).toBe(true);
  });
});

describe('conditions, variables and templates', () => {
  test('conditions see the machine as earlier resources left it', async () => {
    const result = await run(
      {
        a: `resources:
${file('x', `  when: "!file_exists('${join(folder, 'x')}')"\n`)}
${file('y', `  when: file_exists('${join(folder, 'x')}')\n`)}
${file('z', "  when: os_family('bsd')\n")}
${file('no-trait', "  when: version_ge('1')\n")}
${file('no-bool', '  when: "{{ .Traits.os.distro }}"\n')}`,
      },
      { input: { traits: { os: { family: 'debian', distro: 'debian' } } } },
    );
    expect(lines(result)).toEqual([
      'a/x created',
      'a/y created',
      'a/z skipped when_false',
      'a/no-trait error eval_error',
      'a/no-bool error eval_error',
    ]);
  });

  test('a module is asked once; its undecidable condition is an error of all its resources', async () => {
    const result = await run(
      {
        off: `when: "os_family('rhel')"\nresources:\n${file('a')}`,
        odd: `when: "has_package('x')"\nresources:\n${file('b')}\n${file('c')}`,
      },
      { system: new FakeSystem({ files: { [folder]: { kind: 'directory' } } }) },
    );
    expect(lines(result)).toEqual(['off/a skipped when_false', 'odd/b error eval_error', 'odd/c error eval_error']);
  });

  test('command_succeeds runs once a run, and one that hangs is an error', async () => {
    const asked = `command_succeeds('echo x >> ${join(folder, 'asked')}')`;
    await run({ a: `resources:\n${file('x', `  when: "${asked}"\n`)}\n${file('y', `  when: "${asked}"\n`)}` });
    expect(read('asked')).toBe('x\n');
  });

  test('variables in their layers, with those that hold only here', async () => {
    const result = await run(
      {
        a: `vars: {port: 1, name: own, gone: x}\nvars_when:\n- when: os_family('debian')\n  vars: {name: debian, gone: null}\n- when: os_family('rhel')\n  vars: {name: rhel}\nresources:\n- name: f\n  type: file\n  target_path: ${join(folder, 'f')}\n  content: "{{ .Vars.port }} {{ .Vars.name }} {{ .Vars.gone | default \\"none\\" }} {{ .Envoy.hostname }} {{ .Module }} {{ .Name }}"`,
      },
      { vars: 'vars: {port: 80}\n' },
    );
    expect(lines(result)).toEqual(['a/f created']);
    expect(read('f')).toBe('80 debian none web01.example.com a f');
  });

  test('a block of variables that cannot be decided is left out and counted', async () => {
    const result = await run(
      {
        a: `vars: {v: base}\nvars_when:\n- when: has_package('x')\n  vars: {v: late}\nresources:\n- name: f\n  type: file\n  target_path: /f\n  content: "{{ .Vars.v }}"`,
      },
      { system: new FakeSystem() },
    );
    expect(lines(result)).toEqual(['(vars)/vars_when error eval_error', 'a/f created']);
    expect(result.report.flags).toEqual(['vars_errors']);
  });

  test('what comes from the machine is data: no action, no shell word, no secret in it comes alive', async () => {
    const result = await run(
      {
        a: `resources:\n- name: f\n  type: file\n  target_path: ${join(folder, 'f')}\n  content: "{{ .Traits.evil }}"\n- name: g\n  type: exec\n  command: "printf %s {{ .Traits.evil | squote }} > ${join(folder, 'g')}"\n  creates: ${join(folder, 'g')}\n- name: needs\n  type: file\n  target_path: ${join(folder, 'n')}\n  content: secret:db/password`,
      },
      { secrets: { 'db/password': 'hunter22' } },
    );
    expect(lines(result)).toEqual(['a/f created', 'a/g updated', 'a/needs created']);
    expect(read('f')).toBe('x{{ .Vars.port }}`$(reboot)`sec:db/password');
    expect(read('g')).toBe('x{{ .Vars.port }}`$(reboot)`sec:db/password');
  });

  test('a missing key is an error of its resource; a rendered value that does not fit its attribute too', async () => {
    const result = await run({
      a: `resources:\n- name: f\n  type: file\n  target_path: ${join(folder, 'f')}\n  content: "{{ .Traits.nope.deep }}"\n- name: g\n  type: file\n  target_path: ${join(folder, 'g')}\n  mode: "{{ .Traits.os.distro }}"\n${file('h')}`,
    });
    expect(lines(result)).toEqual(['a/f error eval_error', 'a/g error eval_error', 'a/h created']);
    expect(result.report.outcomes[0]?.message).toContain('.Traits.nope.deep');
  });

  test('case chooses by what the machine is', async () => {
    const result = await run({
      a: `resources:\n- name: f\n  type: file\n  target_path: ${join(folder, 'f')}\n  case: "{{ .Traits.os.family }}"\n  match: { debian: { content: deb }, default: { content: other } }`,
    });
    expect(lines(result)).toEqual(['a/f created']);
    expect(read('f')).toBe('deb');
  });

  test('a relative source is a template of the tree; one that is no text is written as it is', async () => {
    const { body } = policyFrom(
      {
        a: `resources:\n- name: f\n  type: file\n  target_path: ${join(folder, 'f')}\n  source: templates/f.tmpl\n- name: g\n  type: file\n  target_path: ${join(folder, 'g')}\n  source: templates/g.bin`,
      },
      '',
      { 'templates/f.tmpl': 'ip={{ index .Traits.network.ip_addresses 0 }}\n', 'templates/g.bin': 'x' },
    );
    const bytes = Buffer.from([0xff, 0x00, 0x7b, 0x7b]);
    const templates = { ...body.templates, 'templates/g.bin': `\u0001raw:${bytes.toString('base64')}` };
    expect(lines(await run({ a: `resources:\n${file('unused')}` }, { input: { body: { ...body, templates } } }))).toEqual([
      'a/f created',
      'a/g created',
    ]);
    expect(read('f')).toBe('ip=10.0.1.5\n');
    expect(readFileSync(join(folder, 'g')).equals(bytes)).toBe(true);
  });

  test('a loop variable reaches programs', async () => {
    await run({
      a: `vars: {users: [{name: ann, keys: [k1, k2]}, {name: bob, keys: []}]}\nresources:\n- name: "User {{ .Item.name }}"\n  type: file\n  foreach: users\n  target_path: "${folder}/{{ .Item.name }}"\n  content: "{{ range .Item.keys }}{{ . }},{{ end }}{{ .Index }}"`,
    });
    expect([read('ann'), read('bob')]).toEqual(['k1,k2,0', '1']);
  });
});

describe('secrets', () => {
  const modules = () => ({
    a: `vars: {pw: "secret:db/password"}
resources:
- name: text
  type: file
  target_path: ${join(folder, 'text')}
  content: "dsn=u:secret:db/password@h and {{ .Vars.pw | sha256 }}"
- name: hidden
  type: exec
  command: "cat; cat /dev/null; exit 4"
  stdin: secret:db/password
  onlyif: "true"
- name: to-file
  type: exec
  command: "cp {{secret_file}} ${'$'}{PWD}/copy; stat -c %a {{ secret_file }}"
  cwd: ${folder}
  secret_file: "{{ .Vars.pw }}"
  onlyif: "true"
- name: innocent
  type: exec
  command: "cat ${join(folder, 'copy')}; base64 ${join(folder, 'copy')}"
  onlyif: "true"`,
  });

  test('reach files and standard input, and no report', async () => {
    const value = 'hun{{ .Vars.x }}ter\u{1F511}22';
    const result = await run(modules(), { secrets: { 'db/password': value } });
    expect(lines(result)).toEqual(['a/text created', 'a/hidden error exec_failed', 'a/to-file updated', 'a/innocent updated']);
    expect(read('text').startsWith(`dsn=u:${value}@h and `)).toBe(true);
    expect(read('copy')).toBe(value);
    const [text, hidden, , innocent] = result.report.outcomes;
    expect([text?.changes, text?.output, hidden?.message]).toEqual([[], undefined, undefined]);
    expect(hidden?.output).toBe(`[output withheld: ${Buffer.byteLength(value)} bytes]`);
    expect(innocent?.output).toContain('[secret]');
    const report = JSON.stringify(result.report);
    for (const form of [value, Buffer.from(value).toString('base64')]) expect(report).not.toContain(form);
    expect(readdirSync(join(home, 'private', String(process.pid)))).toEqual([]);
  });

  test('without a value only what needs it is held back, with all that depends on it', async () => {
    const text = {
      a: `vars: {pw: "secret:db/password", plain: p}\nresources:\n- name: direct\n  type: file\n  target_path: ${join(folder, 'd')}\n  content: secret:db/password\n- name: by-var\n  type: file\n  target_path: ${join(folder, 'v')}\n  content: "{{ .Vars.pw | sha256 }}"\n- name: after\n  type: file\n  target_path: ${join(folder, 'after')}\n  depends_on: direct\n- name: plain\n  type: file\n  target_path: ${join(folder, 'p')}\n  content: "{{ .Vars.plain }}"\n- name: all\n  type: file\n  target_path: ${join(folder, 'a')}\n  content: "{{ range $k, $v := .Vars }}{{ $k }}{{ end }}"`,
    };
    const away = await run(text);
    expect(lines(away)).toEqual([
      'a/direct skipped secret_unavailable',
      'a/by-var skipped secret_unavailable',
      'a/after skipped dependency_failed',
      'a/plain created',
      'a/all skipped secret_unavailable',
    ]);
    expect(away.report.flags).toEqual(['incomplete']);
    expect(lines(await run(text, { secrets: { 'db/password': { status: 'denied' } } })).slice(0, 2)).toEqual([
      'a/direct error secret_denied',
      'a/by-var error secret_denied',
    ]);
    expect(lines(await run(text, { secrets: { 'db/password': { status: 'missing' } } }))[0]).toBe('a/direct error secret_missing');
  });

  test('are asked for once, and only those the run may read', async () => {
    const asked: (readonly string[])[] = [];
    const secrets = async (refs: readonly string[]) => {
      asked.push(refs);
      return new Map<string, SecretLookup>();
    };
    const text = {
      a: `resources:\n- name: f\n  type: file\n  target_path: ${join(folder, 'f')}\n  content: secret:a/one secret:a/two`,
      b: `resources:\n- name: g\n  type: file\n  target_path: ${join(folder, 'g')}\n  content: secret:b/one`,
    };
    await run(text, { input: { secrets } });
    await run(text, { input: { secrets, module: 'b' } });
    expect(asked).toEqual([['a/one', 'a/two', 'b/one'], ['b/one']]);
  });
});

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
    expect(lines(await run(name(''), { system, parts: { memory } }))).toEqual(['a/n updated']);
    expect(lines(await run(name('  revert: true\n'), { system, parts: { memory } }))).toEqual(['a/n updated reverted']);
    expect((await system.readFile('/etc/hostname'))?.toString()).toBe('first\n');
    const before = system.ran.length;
    expect(lines(await run(name('  revert: true\n'), { system, parts: { memory } }))).toEqual(['a/n none']);
    expect(system.ran.length).toBe(before);
    memory.rows.clear();
    expect(lines(await run(name('  revert: true\n'), { system, parts: { memory } }))).toEqual(['a/n error exec_failed']);
  });

  test('removes what has an absent state, runs the inverse of a command, and is armed again by an apply', async () => {
    const memory = memoryFacts();
    const both = (more: string) => ({
      a: `resources:\n${file('f', more)}\n${exec('c', touch('done'), `  creates: ${join(folder, 'done')}\n  on_revert: "rm ${join(folder, 'done')}"\n${more}`)}`,
    });
    const apply = () => run(both(''), { parts: { memory } });
    const undo = (input: Partial<ConvergeInput> = {}) => run(both('  revert: true\n'), { parts: { memory }, input });
    expect(lines(await apply())).toEqual(['a/f created', 'a/c updated']);
    expect(lines(await undo({ mode: 'dry_run' }))).toEqual(['a/f deleted reverted would', 'a/c updated reverted would']);
    expect(lines(await undo())).toEqual(['a/f deleted reverted', 'a/c updated reverted']);
    expect(readdirSync(folder)).toEqual([]);
    expect(lines(await undo())).toEqual(['a/f none', 'a/c none']);
    expect(lines(await apply())).toEqual(['a/f created', 'a/c updated']);
    expect(lines(await undo())).toEqual(['a/f deleted reverted', 'a/c updated reverted']);
  });
});
