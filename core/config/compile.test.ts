/** Conditions, loops, cases, templates, secrets, bodies, trace: config.md §22 cases 34 to 37, 42, 46 to 51, 57, 81, 85, 86. */
import { describe, expect, test } from '@jest/globals';
import { compileFor, type Files, findings, moduleTree, rules, treeOf } from '../../test/harness/config-tree.ts';
import { canonicalJson } from '../base/json.ts';
import { bodySchema, secretMarker } from '../policy/body.ts';
import { bodyBytes, type CompiledEntry, finishBody } from './compile.ts';
import { loadTree } from './load.ts';
import { traceHost, traceModule } from './trace.ts';

const module = (name: string, more = ''): Files => ({
  [`modules/${name}.vgo`]: `name: ${name}\n${more.includes('resources:') ? '' : 'resources: []\n'}${more}`,
});
const modules = (...names: string[]): Files => Object.assign({}, ...names.map((name) => module(name))) as Files;
const resourceNames = (compiled: CompiledEntry) => compiled.body.modules.flatMap((each) => each.resources.map(({ name }) => name));
const file = (name: string, more = '') =>
  `- name: "${name}"\n  type: file\n  target_path: "/t/${name}"\n${more.replaceAll(/^(?=.)/gm, '  ')}`;
const stamp = { release: 7, version: '20260101T000000Z', secretsEpoch: 3 };

describe('conditions', () => {
  const when = (text: string) => moduleTree(`${file('a', `when: ${JSON.stringify(text)}\n`)}${file('b', 'depends_on: a\n')}`);
  const wrong: [string, readonly string[]][] = [
    ["os_family('debian'", ['WHEN-1']],
    ["os_famly('x')", ['WHEN-2']],
    ['arch()', ['WHEN-3']],
    ['changed || is_container', ['WHEN-4']],
    ['!changed', ['WHEN-4']],
    ["hour_range('7','25')", ['WHEN-3']],
    ["eq('secret:a/b', 'x')", ['SEC-4']],
    ["eq('{{ .Vars.pw }}', 'x')", ['SEC-4']],
    ['{{ .Vars.flag }}', ['WHEN-3']],
    ['{{ .Vars.empty }}', []],
    ['{{ .Traits.os.distro }}', []],
  ];
  test.each(wrong)('%s', async (text, expected) => {
    const files = { ...when(text), 'all.vgo': 'match: "*"\nmodules: [m]\nvars: { flag: maybe, empty: "", pw: secret:a/pw }' };
    expect(await rules(files)).toEqual(expected);
  });

  test('what is false here is left out and its dependents stay', () => {
    const files = {
      ...when("environment('prod')"),
      'all.vgo': 'match: "*"\nmodules: [m]\nenvironment: dev',
      'environments.vgo': 'env: { dev: , prod: }',
    };
    const { body } = compileFor(files, 'h');
    expect(body.modules[0]!.resources).toMatchObject([{ name: 'b', depends_on: [] }]);
    expect(resourceNames(compileFor(files, 'h', 'prod'))).toEqual(['a', 'b']);
    expect(compileFor(files, 'h', 'prod').body.modules[0]!.resources[0]).not.toHaveProperty('when');
  });

  test('changed and an agent condition', () => {
    const { body } = compileFor(when("changed && os_family('debian')"), 'h');
    expect(body.modules[0]!.resources[0]).toMatchObject({
      trigger_only: true,
      when: { resolved: "os_family('debian')", source: "changed && os_family('debian')" },
    });
  });

  test('a module that is only triggered makes its resources so; one that is false goes away', () => {
    const files = (text: string) => ({
      'modules/m.vgo': `name: m\nwhen: ${text}\nresources:\n${file('a').replaceAll(/^(?=.)/gm, '  ')}`,
      'e.vgo': 'match: h\nmodules: [m]',
    });
    expect(compileFor(files('changed'), 'h').body.modules[0]).toMatchObject({ resources: [{ trigger_only: true }] });
    expect(compileFor(files('"false"'), 'h').body.module_count).toBe(0);
  });

  test('a value cannot add syntax', () => {
    const files = { ...when("eq('{{ .Vars.tier }}', 'gold')"), 'all.vgo': `match: "*"\nmodules: [m]\nvars: { tier: "x') || eq('a','a" }` };
    expect(resourceNames(compileFor(files, 'h'))).toEqual(['b']);
    const looped = moduleTree(file('f {{ .Index }}', `foreach: l\nwhen: "eq('{{ .Item }}', 'gold')"\n`), {
      'all.vgo': `match: "*"\nmodules: [m]\nvars: { l: [gold, "x') || eq('a','a"] }`,
    });
    expect(resourceNames(compileFor(looped, 'h'))).toEqual(['f 0']);
  });
});

describe('loops and cases', () => {
  const users = (resources: string, value = '[{ name: a }, { name: b }]') =>
    moduleTree(resources, { 'all.vgo': `match: "*"\nmodules: [m]\nvars: { users: ${value} }` });

  test('one resource an element; the unexpanded name means all of them', () => {
    const text = `${file('User {{ .Item.name }}', 'foreach: users\ncontent: "{{ .Item.name }} {{ .Each.name }} {{ .Index }} {{ .Traits.os.family }}"\n')}${file('after', 'depends_on: ["User {{ .Item.name }}"]\n')}`;
    const { body } = compileFor(users(text), 'h');
    expect(body.modules[0]!.resources).toMatchObject([
      {
        name: 'User a',
        attrs: { target_path: '/t/User a', content: 'a a 0 {{ .Traits.os.family }}' },
        group: 'User {{ .Item.name }}',
        item: { name: 'a' },
        index: 0,
      },
      { name: 'User b', attrs: { content: 'b b 1 {{ .Traits.os.family }}' }, index: 1 },
      {
        name: 'after',
        depends_on: [
          { module: 'm', resource: 'User a' },
          { module: 'm', resource: 'User b' },
        ],
      },
    ]);
    expect(body.resource_count).toBe(3);
  });

  test('scalars, plain names, empty lists', async () => {
    expect(resourceNames(compileFor(users(file('U', 'foreach: users\ncontent: "{{ .Item }}"\n'), '[x, y]'), 'h'))).toEqual([
      'U [0]',
      'U [1]',
    ]);
    const empty = users(`${file('U {{ .Item }}', 'foreach: users\n')}${file('z', 'depends_on: "U {{ .Item }}"\n')}`, '[]');
    expect(await rules(empty)).toEqual([]);
    expect(resourceNames(compileFor(empty, 'h'))).toEqual(['z']);
  });

  test('element data is never read as a template or a condition', () => {
    const { body } = compileFor(
      users(file('U {{ .Index }}', 'foreach: users\ncontent: "{{ .Item }}"\nowner: "{{ .Item }}"\n'), `["{{ .Vars.users }}"]`),
      'h',
    );
    expect(body.modules[0]!.resources[0]!.attrs).toMatchObject({ owner: '{{"{{ .Vars.users }}"}}', content: '{{"{{ .Vars.users }}"}}' });
  });

  const wrong: [string, string, string, string][] = [
    ['equal names', 'foreach: users\n', '[x, x]', 'REF-2'],
    ['not a list', 'foreach: users\n', '5', 'FOR-1'],
    ['no such variable', 'foreach: nobody\n', '[]', 'FOR-1'],
    ['a secret in the name', 'foreach: users\n', '[secret:a/b]', 'SEC-3'],
    ['too many', 'foreach: users\n', `[${'x,'.repeat(1001)}]`, 'FOR-2'],
  ];
  test.each(wrong)('%s', async (_name, line, value, rule) => {
    expect(
      (await findings(users(file('U {{ .Item }}', line), value))).filter(({ severity }) => severity === 'error').map((each) => each.rule),
    ).toContain(rule);
  });

  test('a list that vars_when may set is no loop', async () => {
    const files = users(file('U {{ .Item }}', 'foreach: users\n'), '[a]');
    const more = `${files['all.vgo'] as string}\nvars_when: [{ when: "is_container", vars: { users: [] } }]`;
    expect(await rules({ ...files, 'all.vgo': more })).toEqual(['FOR-1']);
  });

  test('the agent chooses by traits, the server by variables', () => {
    const text = (expr: string) =>
      `- name: Time\n  type: service\n  service: chronyd\n  case: "${expr}"\n  match: { Debian: { service: chrony }, default: {} }\n`;
    const byTrait = compileFor(moduleTree(text('{{ .Traits.os.family }}')), 'h').body.modules[0]!.resources[0]!;
    expect(byTrait).toMatchObject({
      attrs: { service: 'chronyd' },
      case: { expr: '{{ .Traits.os.family }}', match: { debian: { service: 'chrony' }, default: {} } },
    });
    const byVar = (value: string) => compileFor(users(text('{{ .Vars.users }}'), value), 'h').body.modules[0]!.resources[0]!;
    expect(byVar('" DEBIAN "')).toMatchObject({ attrs: { service: 'chrony' } });
    expect(byVar('" DEBIAN "')).not.toHaveProperty('case');
    expect(byVar('other')).toMatchObject({ attrs: { service: 'chronyd' } });
  });
});

describe('templates and sources', () => {
  const cases: [string, string, readonly string[]][] = [
    ['control structure outside content', 'owner: "{{ if .Vars.x }}a{{ end }}"', ['TPL-3']],
    ['unknown function', 'content: "{{ now }}"', ['TPL-2']],
    ['syntax', 'content: "{{ .Vars. }}"', ['TPL-1']],
    ['missing source', 'source: templates/no.tmpl', ['REF-11']],
    ['source outside the tree', 'source: ../../etc/passwd', ['REF-11']],
    ['a source on the node', 'source: /etc/x', []],
    ['a bad template file', 'source: templates/bad.tmpl', ['TPL-2']],
    ['a variable that only a template file reads', 'source: templates/reads.tmpl', ['VAR-4']],
  ];
  test.each(cases)('%s', async (_name, line, expected) => {
    const more = { 'templates/bad.tmpl': 'one\n{{ now }}', 'templates/reads.tmpl': '{{ .Vars.nope }}' };
    expect(await rules(moduleTree(file('f', `${line}\n`), more))).toEqual(expected);
  });

  test('template files travel in the body, bytes that are no text unrendered', () => {
    const text = `${file('a', 'source: templates/x.tmpl\n')}${file('b', 'source: templates/raw.bin\n')}`;
    const { body } = compileFor(
      moduleTree(text, {
        'templates/x.tmpl': 'pw secret:a/b.',
        'templates/raw.bin': Uint8Array.of(0xff, 0x7b, 0x7b),
        'templates/unused': 'x',
      }),
      'h',
    );
    expect(body.templates).toEqual({ 'templates/x.tmpl': `pw ${secretMarker('a/b')}.`, 'templates/raw.bin': '\u0001raw:/3t7' });
    expect(body.secret_refs).toEqual(['a/b']);
    expect(body.modules[0]!.resources.map(({ sensitive }) => sensitive)).toEqual([true, false]);
  });
});

describe('secrets', () => {
  const content: [string, string, readonly string[]][] = [
    ['dsn=postgres://u:secret:db/pw@h', `dsn=postgres://u:${secretMarker('db/pw')}@h`, ['db/pw']],
    ['see secret\\:x', 'see secret:x', []],
    ['read secret:a/b.', `read ${secretMarker('a/b')}.`, ['a/b']],
    ['secret:a/b#user,secret:a/b#pw', `${secretMarker('a/b#user')},${secretMarker('a/b#pw')}`, ['a/b#pw', 'a/b#user']],
    ['client_secret:abc', 'client_secret:abc', []],
    ['secret: plain', 'secret: plain', []],
  ];
  test.each(content)('%j in content', (text, expected, refs) => {
    const { body } = compileFor(moduleTree(file('f', `content: ${JSON.stringify(text)}\n`)), 'h');
    expect(body.modules[0]!.resources[0]).toMatchObject({ attrs: { content: expected }, sensitive: refs.length > 0 });
    expect(body.secret_refs).toEqual(refs);
  });

  const exec = (line: string) => `- name: e\n  type: exec\n  command: /bin/x\n  creates: /x\n${line.replaceAll(/^(?=.)/gm, '  ')}`;
  const wrong: [string, string, readonly string[]][] = [
    ['climbing', file('f', 'owner: secret:../x\n'), ['SEC-2']],
    ['an action in the path', file('f', 'owner: "secret:a/{{ .Vars.e }}"\n'), ['SEC-2', 'VAR-4']],
    ['a double slash', file('f', 'owner: secret:a//b\n'), ['SEC-2']],
    ['climbing in content', file('f', 'content: "x secret:../x"\n'), ['SEC-2']],
    ['in the middle of a plain attribute', file('f', 'owner: "x secret:a/b"\n'), ['SEC-2']],
    ['in a command', exec('unless: secret:a/b\n'), ['SEC-5']],
    ['inside a command', '- name: e\n  type: exec\n  command: "curl -u x:secret:a/b"\n  creates: /x\n', ['SEC-5']],
    ['in a command through a variable', exec('unless: "test {{ .Vars.pw }}"\n'), ['SEC-5']],
    ['in the environment', exec('env: { PW: secret:a/b }\n'), ['SEC-5']],
    ['in the environment through a variable', exec('environment: { PW: "{{ .Vars.pw }}" }\n'), ['SEC-5']],
    ['in validate', file('f', 'validate: secret:a/b\n'), ['SEC-5']],
    ['on standard input', exec('stdin: secret:a/b\n'), []],
    ['as a secret file', '- name: e\n  type: exec\n  command: "x {{secret_file}}"\n  creates: /x\n  secret_file: "{{ .Vars.pw }}"\n', []],
    ['as a name', '- name: secret:a/b\n  type: file\n  target_path: /x\n', ['SEC-3']],
    ['in a case', file('f', 'case: "{{ .Vars.pw }}"\nmatch: { a: {} }\n'), ['SEC-4']],
    ['a literal password', '- name: u\n  type: user\n  username: a\n  password: "correct horse"\n', ['SEC-7']],
    ['a password of the provider', '- name: u\n  type: user\n  username: a\n  password: secret:vigo/os-users/alice\n', []],
  ];
  test.each(wrong)('%s', async (_name, text, expected) => {
    expect(await rules(moduleTree(text, { 'all.vgo': 'match: "*"\nmodules: [m]\nvars: { pw: secret:db/pw }' }))).toEqual(expected);
  });

  test('a missing secret is SEC-1, also when only a variable names it', async () => {
    const files = {
      ...moduleTree(file('f', 'content: "{{ .Vars.pw }}"\n')),
      'all.vgo': 'match: "*"\nmodules: [m]\nvars: { pw: "secret:db/pw#x" }',
    };
    expect(await rules(files, { secretExists: async (path) => path !== 'db/pw' })).toEqual(['SEC-1']);
    expect(await rules(files, { secretExists: async (path) => path === 'db/pw' })).toEqual([]);
  });

  test('sensitive is what could show a secret', () => {
    const text = [
      file('direct', 'content: secret:a/b\n'),
      file('byVar', 'content: "{{ .Vars.pw | sha256 }}"\n'),
      file('whole', 'content: "{{ range $k, $v := .Vars }}{{ $v }}{{ end }}"\n'),
      file('plain', 'content: "{{ .Vars.other }}"\n'),
      file('branch', 'case: "{{ .Traits.os.family }}"\nmatch: { debian: { content: secret:a/c } }\n'),
    ].join('');
    const { body } = compileFor(moduleTree(text, { 'all.vgo': 'match: "*"\nmodules: [m]\nvars: { pw: secret:db/pw, other: 1 }' }), 'h');
    expect(body.modules[0]!.resources.map(({ name, sensitive }) => [name, sensitive])).toEqual([
      ['direct', true],
      ['byVar', true],
      ['whole', true],
      ['plain', false],
      ['branch', true],
    ]);
    expect(body.secret_refs).toEqual(['a/b', 'a/c', 'db/pw']);
  });
});

describe('bodies', () => {
  const web = (entry = ''): Files => ({
    'modules/web.vgo': `name: web\nvars: { port: 80 }\ncompliance: { pci: ["2.2.4"] }\nresources:\n  - { type: package, package: nginx }\n${file('conf', 'source: templates/site.conf\nnotify: [Restart nginx]\n').replaceAll(/^(?=.)/gm, '  ')}  - { name: Restart nginx, type: service, service: nginx, state: restarted, when: changed }\n`,
    'templates/site.conf': 'listen {{ .Vars.port }};\n',
    'e.vgo': `match: "web*"\nmodules: [web]\n${entry}`,
  });

  test('a package, its configuration and a triggered restart give no finding', async () => {
    expect(await rules(web())).toEqual([]);
  });

  test('bytes are canonical, valid and equal to the object', () => {
    const compiled = compileFor(web(), 'web1');
    const bytes = bodyBytes(compiled, stamp).toString();
    expect(bytes).toBe(canonicalJson(finishBody(compiled, stamp)));
    expect(bodySchema.parse(JSON.parse(bytes))).toMatchObject({
      release: 7,
      version: '20260101T000000Z',
      secrets_epoch: 3,
      module_count: 1,
      resource_count: 3,
    });
  });

  test('the policy hash follows what the policy says and nothing else', () => {
    const hash = (entry: string, more: Files = {}) => compileFor({ ...web(entry), ...more }, 'web1').policyHash;
    const base = hash('');
    expect(hash('# a comment\ndescription: other words\n')).toBe(base);
    expect(hash('', { 'z.vgo': 'match: other' })).toBe(base);
    const changed = [
      hash('vars: { port: 81 }'),
      hash('', { 'templates/site.conf': 'listen 81;' }),
      hash('vars_when: [{ when: is_container, vars: { port: 81 } }]'),
      hash('devices: [{ name: sw1, credential: secret:sw/1 }]'),
      hash('environment: prod', { 'environments.vgo': 'env: { prod: }' }),
    ];
    expect(new Set([base, ...changed]).size).toBe(changed.length + 1);
  });

  test('entries that share modules get what each would get alone', () => {
    const shared: Files = {
      ...web('vars: { port: 1 }'),
      'f.vgo': 'match: "db*"\nmodules: [web]\nvars: { port: 2 }',
      'g.vgo': 'match: "x*"\nmodules: [web]',
    };
    for (const host of ['web1', 'db1', 'x1']) {
      const alone = compileFor(shared, host);
      const { config } = loadTree(treeOf(shared));
      for (const each of config.entries) bodyBytes(compileFor(shared, each.patterns[0]!.value.replace('*', '1')), stamp);
      expect(bodyBytes(compileFor(shared, host), stamp).equals(bodyBytes(alone, stamp))).toBe(true);
    }
    expect(compileFor(shared, 'x1').body.vars).toEqual({ port: 80 });
  });

  test('device credentials are references of the entry', () => {
    const { body } = compileFor(web('devices: [{ name: sw1, credential: secret:sw/1 }]'), 'web1');
    expect(body.devices).toEqual([{ name: 'sw1', credential: secretMarker('sw/1') }]);
    expect(body.secret_refs).toEqual(['sw/1']);
  });

  test('observe_only cannot be undone below', () => {
    const files = { ...web('observe_only: false'), 'common.vgo': 'observe_only: true' };
    expect(compileFor(files, 'web1').observeOnly).toBe(true);
  });
});

describe('trace', () => {
  const files: Files = {
    ...moduleTree(file('f', 'content: "{{ .Vars.x }} {{ .Vars.pw }}"\nwhen: "environment(\'prod\') && is_container"\n')),
    ...modules('gone'),
    'all.vgo': 'match: zzz',
    'common.vgo': 'modules: [gone]\nvars: { x: 1, pw: secret:a/b }',
    'd/common.vgo': 'vars: { x: 2 }\nexclude_modules: [gone]\n',
    'd/e.vgo': 'match: "web*"\nmodules: [m]\nenvironment: prod\nvars: { x: 3 }',
    'environments.vgo': 'env: { prod: }',
    'waivers.vgo': 'waivers: [{ framework: pci-dss, control: "2.3", reason: r, approved_by: a }]',
    'd/waivers.vgo': 'waivers: [{ framework: pci, control: "2.3", reason: deeper, approved_by: b }]',
  };

  test('shows what overrides what, who excludes, and never a value of a secret', () => {
    const { config } = loadTree(treeOf(files));
    const trace = traceHost(config, 'web1');
    expect(trace.variables.filter(({ name }) => name === 'x')).toEqual([
      { name: 'x', layer: 4, value: 1, file: 'common.vgo', line: 2, final: false },
      { name: 'x', layer: 4, value: 2, file: 'd/common.vgo', line: 1, overrides: 'common.vgo:2', final: false },
      { name: 'x', layer: 6, value: 3, file: 'd/e.vgo', line: 4, overrides: 'd/common.vgo:1', final: true },
    ]);
    expect(trace.variables.find(({ name }) => name === 'pw')?.value).toBe('secret:a/b');
    expect(trace.modules).toEqual([
      { name: 'm', via: 'entry', file: 'd/e.vgo', line: 2, order: 1 },
      { name: 'gone', via: 'common', file: 'common.vgo', line: 1, excluded_by: 'd/common.vgo:2', order: null },
    ]);
    expect(trace.path.map(({ kind, dir }) => `${kind} ${dir}`)).toEqual([
      'common ',
      'environments ',
      'waivers ',
      'common d',
      'waivers d',
      'entry d',
    ]);
    expect(trace.path.at(-1)).toMatchObject({ pattern: 'web*', ordinal: 0, file: 'd/e.vgo', line: 1 });
    expect(trace.conditions).toMatchObject([{ target: 'm/f', side: 'split', resolved: 'is_container', file: 'modules/m.vgo' }]);
    expect(trace.waivers.map(({ reason, effective }) => [reason, effective])).toEqual([
      ['r', false],
      ['deeper', true],
    ]);
    expect(JSON.stringify(trace)).not.toContain('\\u0001');
  });

  test('no match: every section is there and empty', () => {
    const { config } = loadTree(treeOf(files));
    const trace = traceHost(config, 'db1');
    expect(trace.match).toBeNull();
    for (const key of ['path', 'modules', 'variables', 'dependencies', 'conditions', 'compliance', 'waivers'] as const)
      expect(trace[key]).toEqual([]);
    expect(traceModule(config, 'm')).toEqual([{ entry: 'd/e.vgo#0', match: 'web*', via: 'entry', file: 'd/e.vgo', line: 2 }]);
  });
});
