/** Inheritance, variables, order: config.md §22 cases 14 to 26 and 30. */
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { compileFor, type Files, findings, moduleTree, rules } from '../../test/harness/config-tree.ts';
import { orderNodes } from '../policy/graph.ts';
import type { CompiledEntry } from './compile.ts';
import { lookUp } from './variables.ts';

const module = (name: string, more = ''): Files => ({
  [`modules/${name}.vgo`]: `name: ${name}\n${more.includes('resources:') ? '' : 'resources: []\n'}${more}`,
});
const modules = (...names: string[]): Files => Object.assign({}, ...names.map((name) => module(name))) as Files;
const moduleNames = (compiled: CompiledEntry) => compiled.body.modules.map(({ name }) => name);
const resourceNames = (compiled: CompiledEntry) => compiled.body.modules.flatMap((each) => each.resources.map(({ name }) => name));
const file = (name: string, more = '') =>
  `- name: "${name}"\n  type: file\n  target_path: "/t/${name}"\n${more.replaceAll(/^(?=.)/gm, '  ')}`;

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
