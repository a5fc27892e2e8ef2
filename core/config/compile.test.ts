/** Inheritance, variables, ordering, conditions, loops, cases, secrets: config.md §22 cases 14 to 26, 30, 34 to 37, 42, 46 to 51, 57, 81, 85, 86. */
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { compileFor, type Files, findings, moduleTree, rules, treeOf } from '../../test/harness/config-tree.ts';
import { canonicalJson } from '../base/json.ts';
import { bodySchema, secretMarker } from '../policy/body.ts';
import { orderNodes } from '../policy/graph.ts';
import { bodyBytes, type CompiledEntry, finishBody } from './compile.ts';
import { loadTree } from './load.ts';
import { traceHost, traceModule } from './trace.ts';
import { lookUp } from './variables.ts';

const module = (name: string, more = ''): Files => ({
  [`modules/${name}.vgo`]: `name: ${name}\n${more.includes('resources:') ? '' : 'resources: []\n'}${more}`,
});
const modules = (...names: string[]): Files => Object.assign({}, ...names.map((name) => module(name))) as Files;
const moduleNames = (compiled: CompiledEntry) => compiled.body.modules.map(({ name }) => name);
const resourceNames = (compiled: CompiledEntry) => compiled.body.modules.flatMap((each) => each.resources.map(({ name }) => name));
const file = (name: string, more = '') =>
  `- name: "${name}"\n  type: file\n  target_path: "/t/${name}"\n${more.replaceAll(/^(?=.)/gm, '  ')}`;
const stamp = { release: 7, version: '20260101T000000Z', secretsEpoch: 3 };

describe('module lists', () => {
  test('common.vgo reaches its own directory and below, not beside', () => {
    const files = {
      ...modules('a'),
      'x/common.vgo': 'modules: [a]',
      'x/e.vgo': 'match: in',
      'x/y/f.vgo': 'match: below',
      'z/g.vgo': 'match: beside',
    };
    expect(['in', 'below', 'beside'].map((host) => moduleNames(compileFor(files, host)))).toEqual([['a'], ['a'], []]);
  });

  test('what an environment excludes the entry may add again, at the end', () => {
    const files = {
      ...modules('a', 'b', 'c'),
      'common.vgo': 'modules: [a, b, c]\nenvironment: production',
      'environments.vgo': 'env: { production: { exclude_modules: [b] } }',
      'e.vgo': 'match: h\nmodules: [b]',
    };
    expect(moduleNames(compileFor(files, 'h'))).toEqual(['a', 'c', 'b']);
    expect(compileFor(files, 'h').inheritance.exclusions[0]).toMatchObject({
      origin: { name: 'b' },
      excludedBy: { file: 'environments.vgo', line: 1 },
    });
  });

  const problems: [string, Files, readonly string[]][] = [
    ['added and excluded at once', { ...modules('a'), 'e.vgo': 'match: h\nmodules: [a]\nexclude_modules: [a]' }, ['REF-9']],
    ['excluded but absent', { ...modules('x'), 'e.vgo': 'match: h\nexclude_modules: [x]' }, ['REF-8']],
    [
      'a dependency the environment takes away',
      {
        ...modules('n'),
        ...module('m', 'depends_on: [n]'),
        'e.vgo': 'match: h\nenvironment: p',
        'common.vgo': 'modules: [m, n]',
        'environments.vgo': 'env: { p: { exclude_modules: [n] } }',
      },
      ['REF-6'],
    ],
    [
      'includes of includes',
      { 'roles.vgo': 'roles: [{ name: a, includes: [b] }, { name: b, includes: [c] }, { name: c }]', 'e.vgo': 'match: h\nroles: [a]' },
      ['REF-12', 'REF-5'],
    ],
    ['an unknown module', { 'e.vgo': 'match: h\nmodules: [nope]' }, ['REF-1']],
    ['an unknown role', { 'e.vgo': 'match: h\nroles: [nope]' }, ['REF-1']],
    ['an unknown environment', { 'e.vgo': 'match: h\nenvironment: prodction', 'environments.vgo': 'env: { production: }' }, ['REF-7']],
    ['a missing vars file', { 'e.vgo': 'match: h\nvars_from: vars/x.vgo' }, ['REF-11']],
    ['a bad variable name', { 'e.vgo': 'match: h\nvars: { a-b: 1 }' }, ['VAR-1']],
    ['an unused role', { 'roles.vgo': 'roles: [{ name: a }]', 'e.vgo': 'match: h' }, ['REF-12']],
    [
      'modules in a circle',
      { ...module('a', 'depends_on: [b]'), ...module('b', 'depends_on: [a]'), 'e.vgo': 'match: h\nmodules: [a, b]' },
      ['CYC-1'],
    ],
    ['a module on itself', { ...module('a', 'depends_on: [a]'), 'e.vgo': 'match: h\nmodules: [a]' }, ['CYC-3']],
  ];
  test.each(problems)('%s', async (_name, files, expected) => {
    expect(await rules(files)).toEqual(expected);
  });

  test('a role brings includes first, then its modules, then its cases', () => {
    const files = {
      ...modules('base', 'chrony', 'apt-clean', 'dnf-clean', 'both'),
      'roles.vgo':
        'roles:\n  - { name: base-linux, modules: [base] }\n  - name: time\n    modules: [chrony]\n    includes: [base-linux]\n    case: { debian: [apt-clean, both], RHEL: [dnf-clean, both] }\n',
      'e.vgo': 'match: h\nroles: [time]',
      'f.vgo': 'match: g\nroles: [time]\nmodules: [dnf-clean]',
    };
    const compiled = compileFor(files, 'h');
    expect(moduleNames(compiled)).toEqual(['base', 'chrony', 'apt-clean', 'both', 'dnf-clean']);
    expect(compiled.body.modules.map(({ when }) => when?.resolved)).toEqual([
      undefined,
      undefined,
      "os_family('debian')",
      "os_family('debian') || os_family('rhel')",
      "os_family('rhel')",
    ]);
    expect(compileFor(files, 'g').body.modules.find(({ name }) => name === 'dnf-clean')?.when).toBeUndefined();
  });
});

describe('variables', () => {
  const layers: readonly [value: number, files: Files][] = [
    [1, module('m', 'vars: { p: 1 }')],
    [2, { 'roles.vgo': 'roles: [{ name: r, vars: { p: 2 } }]' }],
    [3, { 'common.vgo': 'vars: { p: 3 }' }],
    [4, { 'd/common.vgo': 'vars: { p: 4 }' }],
    [5, {}],
    [6, { 'environments.vgo': 'env: { prod: { vars: { p: 6 } } }' }],
    [7, {}],
  ];
  test.each([1, 2, 3, 4, 5, 6, 7])('with layers up to %d', (top) => {
    const files = Object.assign(
      { 'modules/m.vgo': 'name: m\nresources: []', 'roles.vgo': 'roles: [{ name: r }]', 'environments.vgo': 'env: { prod: {} }' },
      ...layers.filter(([value]) => value <= top).map(([, more]) => more),
      {
        'd/e.vgo': `match: h\nenvironment: prod\nroles: [r]\nmodules: [m]\n${top >= 5 ? 'vars: { p: 5 }\n' : ''}${top >= 7 ? 'environment_overrides: { prod: { p: 7 } }\n' : ''}`,
      },
    ) as Files;
    const { body, variables } = compileFor(files, 'h');
    expect(lookUp(variables, 'm', 'p')?.value).toBe(top);
    expect({ ...body.vars, ...body.modules[0]!.vars }['p']).toBe(top);
  });

  test('own environment overrides beat own defaults; vars_from lies under vars', () => {
    const files = {
      ...module('m', 'vars: { a: 1, b: 1 }\nenvironment_overrides: { prod: { a: 2 } }'),
      'vars/x.vgo': 'c: 1\nd: 1',
      'vars/y.vgo': 'd: 2',
      'e.vgo': 'match: h\nenvironment: prod\nmodules: [m]\nvars_from: [vars/x.vgo, vars/y.vgo]\nvars: { c: 3 }',
    };
    const { variables } = compileFor(files, 'h');
    expect(['a', 'b', 'c', 'd'].map((name) => lookUp(variables, 'm', name)?.value)).toEqual([2, 1, 3, 2]);
  });

  test('each module sees its own default, others the first', async () => {
    const files = {
      ...module('a', 'vars: { x: 1 }'),
      ...module('b', 'vars: { x: 2 }'),
      ...modules('c'),
      'e.vgo': 'match: h\nmodules: [a, b, c]',
    };
    const { body, variables } = compileFor(files, 'h');
    expect(['a', 'b', 'c'].map((name) => lookUp(variables, name, 'x')?.value)).toEqual([1, 2, 1]);
    expect(body.modules.map(({ vars }) => ({ ...body.vars, ...vars })['x'])).toEqual([1, 2, 1]);
    expect(await rules(files)).toEqual(['VAR-3']);
  });

  test('no deep merge, and null takes a name away', () => {
    const files = {
      ...module('m', 'vars: { y: 1 }\nenvironment_overrides: { prod: { y: null } }'),
      ...module('n', 'vars: { z: 1 }'),
      'common.vgo': 'vars: { m: { b: 2 }, x: 5 }',
      'e.vgo': 'match: h\nenvironment: prod\nmodules: [m, n]\nvars: { m: { a: 1 }, x: null }',
    };
    const { body } = compileFor(files, 'h');
    expect(body.vars).toEqual({ m: { a: 1 }, z: 1 });
    expect(body.modules.map(({ vars }) => vars)).toEqual([{}, {}]);
  });

  test('a module that removes a name does not take it from the others', () => {
    const files = {
      ...module('a', 'vars: { y: 1 }'),
      ...module('b', 'vars: { y: 2 }\nenvironment_overrides: { prod: { y: null } }'),
      ...modules('c'),
      'e.vgo': 'match: h\nenvironment: prod\nmodules: [a, b, c]',
    };
    const { body } = compileFor(files, 'h');
    expect(body.vars).toEqual({});
    expect(body.modules.map(({ vars }) => vars)).toEqual([{ y: 1 }, {}, { y: 1 }]);
  });

  test('values are data', async () => {
    const files = {
      ...moduleTree(file('f', 'content: "{{ .Vars.x }}"')),
      'all.vgo': 'match: "*"\nmodules: [m]\nvars: { x: "{{ .Vars.y }}" }',
    };
    expect(compileFor(files, 'h').body.vars['x']).toBe('{{ .Vars.y }}');
    expect(await rules(files)).toEqual(['VAR-2']);
  });

  const reads: [string, string, readonly string[]][] = [
    ['a static name nobody gives', 'content: "{{ .Vars.nope }}"', ['VAR-4']],
    ['with default', 'content: "{{ .Vars.nope | default 1 }}"', []],
    ['under if', 'content: "{{ if .Vars.nope }}{{ .Vars.nope }}{{ end }}"', []],
    ['required', 'content: "{{ required \\"give it\\" .Vars.nope }}"', []],
    ['in a condition', "when: \"eq('{{ .Vars.nope }}', 'a')\"", ['VAR-4']],
    ['in a plain attribute', 'owner: "{{ .Vars.nope }}"', ['VAR-4']],
    ['an unknown root', 'content: "{{ .Vrs.x }}"', ['VAR-4']],
    ['the element without a loop', 'content: "{{ .Item }}"', ['VAR-4']],
    ['a trait', 'content: "{{ .Traits.os.family }}"', []],
  ];
  test.each(reads)('reading %s', async (_name, line, expected) => {
    expect(await rules(moduleTree(file('f', `${line}\n`)))).toEqual(expected);
  });

  test('vars_when may set a name, and must not use changed', async () => {
    const read = moduleTree(file('f', 'content: "{{ .Vars.x }}"'));
    const when = (text: string) => ({ ...read, 'all.vgo': `match: "*"\nmodules: [m]\nvars_when: [{ when: "${text}", vars: { x: 1 } }]` });
    expect(await rules(when("os_family('debian')"))).toEqual([]);
    expect(await rules(when('changed'))).toEqual(['WHEN-4']);
    expect(compileFor(when("os_family('debian')"), 'h').body.vars_when).toMatchObject([
      { when: { resolved: "os_family('debian')" }, vars: { x: 1 } },
    ]);
  });
});

describe('order', () => {
  test('dependencies first, then declaration order', () => {
    const text = `${file('a', 'depends_on: b\n')}${file('b', 'before: c\n')}${file('c', 'depends_on: [a]\n')}`;
    expect(resourceNames(compileFor(moduleTree(text), 'h'))).toEqual(['b', 'a', 'c']);
    expect(resourceNames(compileFor(moduleTree(`${file('x')}${file('y')}`), 'h'))).toEqual(['x', 'y']);
  });

  test('before and subscribes arrive in the forward form', () => {
    const text = `${file('a', 'before: b\n')}${file('b')}${file('c', 'subscribes: [a]\n')}`;
    const { body } = compileFor(moduleTree(text), 'h');
    expect(body.modules[0]!.resources.map(({ name, depends_on, notify }) => [name, depends_on, notify])).toEqual([
      ['a', [], [{ module: 'm', resource: 'c' }]],
      ['b', [{ module: 'm', resource: 'a' }], []],
      ['c', [], []],
    ]);
  });

  const wrong: [string, string, string, string][] = [
    [
      'a circle',
      `${file('a', 'depends_on: b\n')}${file('b', 'depends_on: c\nbefore: []\n')}${file('c', 'depends_on: a\n')}`,
      'CYC-2',
      'a → c → b → a',
    ],
    ['a circle through notify', `${file('a', 'notify: b\n')}${file('b', 'before: a\n')}`, 'CYC-2', 'a → b → a'],
    ['itself', file('a', 'depends_on: [a]\n'), 'CYC-3', 'refers to itself'],
    ['nobody', file('a', 'depends_on: [zz]\n'), 'REF-1', '"zz"'],
    ['an action in a reference', file('a', 'depends_on: ["{{ .Vars.x | default 1 }}"]\n'), 'TPL-4', 'never rendered'],
    ['a duplicate name', `${file('a')}- name: a\n  type: file\n  target_path: /t/b\n`, 'REF-2', 'occurs twice'],
  ];
  test.each(wrong)('%s', async (_name, text, rule, part) => {
    const errors = (await findings(moduleTree(text))).filter(({ severity }) => severity === 'error');
    expect(errors.map((problem) => problem.rule)).toEqual([rule]);
    expect(errors[0]!.message).toContain(part);
  });

  test('a module may depend on another and notify it', async () => {
    const files = {
      'modules/nginx.vgo': 'name: nginx\nresources:\n  - { name: Reload, type: service, service: nginx, state: reloaded, when: changed }\n',
      'modules/app.vgo': `name: app\ndepends_on: [nginx]\nresources:\n${file('conf', 'notify: nginx/Reload\n').replaceAll(/^(?=.)/gm, '  ')}`,
      'e.vgo': 'match: h\nmodules: [app, nginx]',
      'f.vgo': 'match: g\nmodules: [nginx]',
    };
    expect(await rules(files)).toEqual([]);
    const { body } = compileFor(files, 'h');
    expect(body.modules.map(({ name }) => name)).toEqual(['nginx', 'app']);
    expect(body.modules[1]!.resources[0]).toMatchObject({
      notify: [{ module: 'nginx', resource: 'Reload' }],
      depends_on: [{ module: 'nginx' }],
    });
    expect(body.modules[0]!.resources[0]).toMatchObject({ trigger_only: true });
    expect(body.modules[0]!.resources[0]).not.toHaveProperty('when');
  });

  test('references into a module the entry does not have', async () => {
    const target = { 'modules/o.vgo': `name: o\nresources:\n${file('x').replaceAll(/^(?=.)/gm, '  ')}` };
    expect(await rules({ ...moduleTree(file('a', 'depends_on: o/x\n')), ...target })).toEqual(['REF-6']);
    expect(await rules({ ...moduleTree(file('a', 'notify: o/x\n')), ...target })).toEqual(['REF-10']);
    expect(await rules({ ...moduleTree(file('a', 'notify: o/y\n')), ...target })).toEqual(['REF-1']);
  });

  test('any acyclic graph is ordered along its edges, a cycle is really one', () => {
    const graph = fc.integer({ min: 2, max: 12 }).chain((count) =>
      fc.tuple(
        fc.constant(count),
        fc.array(
          fc.tuple(fc.nat(count - 1), fc.nat(count - 1)).filter(([a, b]) => a !== b),
          { maxLength: 30 },
        ),
      ),
    );
    fc.assert(
      fc.property(graph, ([count, edges]) => {
        const { order, cycle } = orderNodes(count, edges);
        if (order !== undefined) {
          expect(order.toSorted((a, b) => a - b)).toEqual(Array.from({ length: count }, (_, i) => i));
          for (const [from, to] of edges) expect(order.indexOf(from)).toBeLessThan(order.indexOf(to));
        } else {
          expect(cycle[0]).toBe(cycle.at(-1));
          for (let i = 0; i + 1 < cycle.length; i++) expect(edges).toContainEqual([cycle[i], cycle[i + 1]]);
        }
      }),
    );
  });
});

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
