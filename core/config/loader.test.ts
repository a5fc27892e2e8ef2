/** Tree, loader, matching: config.md §22 cases 1 to 11 and what hostile files must not do. */
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, jest, test } from '@jest/globals';
import { compileFor, type Files, findings, moduleTree, rules, treeOf } from '../../test/harness/config-tree.ts';
import { bodyBytes } from './compile.ts';
import { loadTree } from './load.ts';
import { buildManifest, rootHash, rootOfTree } from './manifest.ts';
import { entryFor, patternProblem } from './match.ts';
import { parseYaml } from './parse.ts';
import { readTree } from './read-tree.ts';
import { treeView } from './tree-view.ts';
import { validateTree } from './validate.ts';

// hostile inputs are timed by the tests themselves
jest.setTimeout(60_000);

const FILE = '- name: F\n  type: file\n  target_path: /tmp/f\n';
const ANY = 'match: "*"\n';

describe('tree and files', () => {
  const cases: [string, Files, readonly string[]][] = [
    ['two library directories', { 'modules/a.vgo': 'name: a\nresources: []', 'configcrates/b.vgo': 'name: b\nresources: []' }, ['TREE-1']],
    ['two spellings in one directory', { 'environments.vgo': 'env: {}', 'per_env_overrides.vgo': 'env: {}' }, ['TREE-2']],
    ['two spellings in two directories', { 'a/environments.vgo': 'env: {}', 'b/per_env_overrides.vgo': 'env: {}' }, []],
    ['waivers twice', { 'waivers.vgo': 'waivers: []', 'compliance.vgo': 'waivers: []' }, ['TREE-2']],
    ['a stray file', { 'sites/stray.vgo': 'vars: { a: 1 }' }, ['TREE-3']],
    ['common.vgo in the library', { 'modules/common.vgo': 'vars: {}' }, ['TREE-3']],
    ['waivers in the library', { 'modules/x/waivers.vgo': 'waivers: []' }, ['TREE-3']],
    ['names that differ in case', { 'Web.vgo': ANY, 'web.vgo': 'match: "a"' }, ['MATCH-2', 'TREE-6']],
    ['an empty entry file', { 'a.vgo': '# nothing\n' }, ['TREE-5']],
    ['an empty module list', { 'a.vgo': ANY }, []],
    ['a name deeper down that is reserved at the top', { 'sites/modules/a.vgo': ANY }, []],
    ['not UTF-8', { 'a.vgo': Uint8Array.of(0x61, 0xff) }, ['YAML-2']],
    ['a NUL', { 'a.vgo': 'match: "*"\u0000' }, ['YAML-2']],
    ['an escaped control character', { 'a.vgo': 'match: "*"\ndescription: "\\u0001sec:a/b\\u0001"' }, ['YAML-2']],
    ['a byte order mark', { 'a.vgo': `\ufeff${ANY}` }, []],
    ['a duplicate key', moduleTree(`${FILE}  type: file\n`), ['YAML-3']],
    ['a custom tag', { 'a.vgo': 'match: !!python/x "*"' }, ['YAML-1']],
    ['two documents', { 'a.vgo': 'match: "*"\n---\nmatch: "a"' }, ['YAML-1']],
    ['YAML 1.1', { 'a.vgo': '%YAML 1.1\n---\nmatch: "*"' }, ['YAML-1']],
    ['a cyclic alias', { 'a.vgo': 'match: "*"\nvars: &x { a: *x }' }, ['YAML-1']],
    ['1e999', { 'a.vgo': 'match: "*"\nvars: { a: 1e999 }' }, ['YAML-1']],
    ['a number without exact value', { 'a.vgo': 'match: "*"\nvars: { a: 12345678901234567890 }' }, ['YAML-1']],
    ['an unknown key', { 'a.vgo': 'match: "*"\nmodul: []' }, ['SCHEMA-1']],
    ['an alias beside its key', { 'a.vgo': 'match: "*"\nmodules: []\nconfigcrates: []' }, ['SCHEMA-2']],
    ['another key beside envoys', { 'a.vgo': 'envoys: [{ match: "*" }]\nvars: {}' }, ['SCHEMA-1']],
    ['an unclosed set', { 'a.vgo': 'match: "web[1-"' }, ['MATCH-1']],
    ['a trailing back-slash', { 'a.vgo': "match: 'web\\'" }, ['MATCH-1']],
    ['an empty pattern', { 'a.vgo': 'match: ""' }, ['MATCH-1']],
    ['an entry behind *', { 'a.vgo': ANY, 'b.vgo': 'match: "web*"' }, ['MATCH-2']],
    ['the same pattern twice', { 'a.vgo': 'match: "web*"', 'b.vgo': 'match: "WEB*."' }, ['MATCH-2']],
    ['duplicate modules', { 'modules/a.vgo': 'name: a\nresources: []', 'modules/x/a.vgo': 'name: a\nresources: []' }, ['REF-3']],
    ['duplicate roles', { 'roles.vgo': 'roles: [{ name: r }]', 'roles/r.vgo': 'name: r' }, ['REF-12', 'REF-4']],
    ['a template is never parsed as configuration', { 'templates/x.vgo': '{{ not: yaml' }, []],
  ];
  test.each(cases)('%s', async (_name, files, expected) => {
    expect(await rules(files)).toEqual(expected);
  });

  test('both lines of a duplicate key are named', async () => {
    const [problem] = await findings(moduleTree(`${FILE}  type: file\n`));
    expect(problem).toMatchObject({
      rule: 'YAML-3',
      at: { file: 'modules/m.vgo', line: 6, column: 5 },
      message: expect.stringContaining('line 4'),
    });
  });

  test('a typing error gets a hint', async () => {
    const [problem] = await findings(moduleTree(`${FILE}  notfy: [X]\n`));
    expect(problem).toMatchObject({ rule: 'SCHEMA-1', hint: 'did you mean "notify"?', module: 'm', resource: 'F' });
  });

  test('ten errors in five files are all told at once', async () => {
    const files = Object.fromEntries([1, 2, 3, 4, 5].map((n) => [`e${n}.vgo`, `match: "h${n}"\nbad1: 1\nbad2: 2\n`]));
    expect((await findings(files)).map(({ rule, at }) => `${rule} ${at?.file}:${at?.line}`)).toEqual(
      [1, 2, 3, 4, 5].flatMap((n) => [`SCHEMA-1 e${n}.vgo:2`, `SCHEMA-1 e${n}.vgo:3`]),
    );
  });
});

describe('bombs end quickly and as findings', () => {
  const bombs: [string, string, string][] = [
    [
      'aliases',
      `a: &a [${'1,'.repeat(20)}]\n${[...'bcdefgh'].map((name, i) => `${name}: &${name} [${`*${'abcdefgh'[i]},`.repeat(20)}]`).join('\n')}`,
      'YAML-4',
    ],
    [
      'merge keys',
      `a: &a {${Array.from({ length: 200 }, (_, i) => `k${i}: 1`).join(', ')}}\n${Array.from({ length: 100 }, (_, i) => `m${i}: {<<: *a}`).join('\n')}`,
      'YAML-4',
    ],
    ['flow depth', '['.repeat(100_000), 'YAML-4'],
    ['block depth', '- '.repeat(50_000), 'YAML-4'],
    ['65 levels', `${'['.repeat(65)}${']'.repeat(65)}`, 'YAML-4'],
  ];
  test.each(bombs)('%s', (_name, text, rule) => {
    const started = performance.now();
    expect(parseYaml('a.vgo', Buffer.from(text)).problems.map((problem) => problem.rule)).toContain(rule);
    expect(performance.now() - started).toBeLessThan(20_000);
  });

  test('100,000 keys are read in linear time', () => {
    const text = Array.from({ length: 100_000 }, (_, i) => `k${i}: 1`).join('\n');
    expect(parseYaml('a.vgo', Buffer.from(text)).problems).toEqual([]);
  });

  test('__proto__ and constructor are ordinary keys', () => {
    const compiled = compileFor(
      { 'a.vgo': 'match: "*"\nvars: { __proto__: { polluted: yes }, constructor: 1, m: { __proto__: { x: 1 } } }' },
      'h',
    );
    expect(({} as Record<string, unknown>)['polluted']).toBeUndefined();
    expect(Object.keys(compiled.body.vars).sort()).toEqual(['__proto__', 'constructor', 'm']);
    expect(bodyBytes(compiled, { release: 1, version: 'v', secretsEpoch: 0 }).toString()).toContain('"__proto__":{"polluted":"yes"}');
  });
});

describe('vocabulary and scalars', () => {
  test('a scalar alias is a list of one', () => {
    const compiled = compileFor({ 'a.vgo': 'hostname: h\nconfigcrate: a', 'configcrate/a.vgo': 'configcrate: a\nresources: []' }, 'h');
    expect(compiled.body.modules.map(({ name }) => name)).toEqual(['a']);
  });

  test('attributes travel as strings', () => {
    const { body } = compileFor(
      moduleTree(
        '- name: U\n  type: user\n  username: deploy\n  groups: sudo, adm\n  uid: 1500\n  sudo_nopasswd: true\n  comment: null\n  timeout_secs: 30\n',
      ),
      'h',
    );
    expect(body.modules[0]!.resources[0]).toMatchObject({
      attrs: { username: 'deploy', groups: 'sudo, adm', uid: '1500', sudo_nopasswd: 'true' },
      timeout_s: 30,
    });
    expect(body.modules[0]!.resources[0]!.attrs).not.toHaveProperty('comment');
  });

  test.each([
    ['mode: 0644', ['SCHEMA-3']],
    ['mode: "0644"', []],
    ['mode: "0944"', ['SCHEMA-10']],
    ['mode: no', ['SCHEMA-10']],
    ['path: /tmp/g', ['SCHEMA-2']],
    ['state: here', ['SCHEMA-10']],
    ['timeout: soon', ['SCHEMA-10']],
    ['nice: 20', ['SCHEMA-10']],
  ])('%s', async (line, expected) => {
    expect(await rules(moduleTree(`${FILE}  ${line}\n`))).toEqual(expected);
  });

  test.each([
    ['- type: fil\n', 'SCHEMA-4', 'did you mean "file"?'],
    ['- type: docker_image\n', 'SCHEMA-4', 'the language has this type, this version of the product does not yet'],
    ['- name: x\n', 'SCHEMA-6', undefined],
    ['- name: x\n  type: file\n', 'SCHEMA-6', undefined],
    ['- name: a/b\n  type: file\n  target_path: /x\n', 'SCHEMA-10', undefined],
    [`${FILE}  case: "{{ .Traits.os.family }}"\n`, 'SCHEMA-5', undefined],
    [`${FILE}  case: x\n  match: { a: { when: "true" } }\n`, 'SCHEMA-7', undefined],
    [`- name: E\n  type: exec\n  command: x\n  creates: /x\n  revert: true\n`, 'SCHEMA-8', undefined],
    [`${FILE}  content: x\n  source: /etc/x\n`, 'SCHEMA-9', undefined],
  ])('%j is %s', async (resource, rule, hint) => {
    const found = (await findings(moduleTree(resource))).filter(({ severity }) => severity === 'error');
    expect(found.map((problem) => problem.rule)).toEqual([rule]);
    expect(found[0]!.hint).toBe(hint);
  });

  test('defaults lie under the resources that know them', async () => {
    const files = {
      'modules/m.vgo': `name: m\ndefaults: { owner: root, mode: "0600" }\nresources:\n${FILE.trimEnd().replaceAll(/^/gm, '  ')}\n    mode: "0644"\n  - { type: package, package: nginx }\n`,
      'a.vgo': 'match: "*"\nmodules: [m]',
    };
    expect(compileFor(files, 'h').body.modules[0]!.resources.map(({ attrs }) => attrs)).toEqual([
      { target_path: '/tmp/f', mode: '0644', owner: 'root' },
      { package: 'nginx' },
    ]);
    expect(await rules({ ...files, 'modules/m.vgo': files['modules/m.vgo'].replace('owner: root', 'ower: root') })).toEqual(['SCHEMA-1']);
  });
});

describe('matching', () => {
  const globs: [string, string, boolean][] = [
    ['web*.prod.example.com', 'WEB1.prod.example.com.', true],
    ['web?.x', 'web10.x', false],
    ['*', 'a.b.c', true],
    ['[ab]x*', 'bxyz', true],
    ['[^ab]x', 'cx', true],
    ['[^ab]x', 'ax', false],
    ['web1', 'web1.example.com', false],
    ['*.example.com', 'a.example.com', true],
    ['a\\*b', 'a*b', true],
    ['a\\*b', 'axb', false],
    ['*a*a*a*a*a*a*a*a*b', 'a'.repeat(200), false],
  ];
  test.each(globs)('%s on %s is %s', (pattern, host, expected) => {
    const { config } = loadTree(treeOf({ 'a.vgo': `match: '${pattern}'` }));
    expect(patternProblem(pattern)).toBeUndefined();
    expect(entryFor(config, host) !== undefined).toBe(expected);
  });

  test('deeper entries come first, then files in byte order, then file order', () => {
    const files = {
      'default.vgo': 'match: "*"',
      'eu/web/n.vgo': '[{ match: "web*" }, { match: "web1" }]',
      'eu/a.vgo': 'match: "web*"',
      'Zu/z.vgo': 'match: "z*"',
      'a.vgo': 'match: "z*"',
    };
    const { config } = loadTree(treeOf(files));
    expect(config.entries.map(({ id }) => id)).toEqual([
      'Zu/z.vgo#0',
      'eu/web/n.vgo#0',
      'eu/web/n.vgo#1',
      'eu/a.vgo#0',
      'a.vgo#0',
      'default.vgo#0',
    ]);
    expect(entryFor(config, 'web1')?.id).toBe('eu/web/n.vgo#0');
    expect(entryFor(config, 'zebra')?.id).toBe('Zu/z.vgo#0');
    expect(entryFor(config, 'other')?.id).toBe('default.vgo#0');
    const ordinals = treeView(config, { hostnames: ['web1', 'web2', 'x'] }).flatMap(({ entries }) => entries);
    expect(ordinals.find(({ id }) => id === 'eu/web/n.vgo#0')).toMatchObject({ ordinal: 2, envoys: 2 });
    expect(ordinals.find(({ id }) => id === 'default.vgo#0')).toMatchObject({ ordinal: 6, envoys: 1 });
  });

  test('the index answers what trying every entry in order answers', () => {
    const patterns = ['web*', '*-db', 'a?c', 'web1', 'w*1', '[wx]eb2', 'abc', '*', 'zzz'];
    const list = (order: readonly string[]) => order.map((pattern) => `- match: "${pattern}"`).join('\n');
    for (let turn = 0; turn < patterns.length; turn++) {
      const order = [...patterns.slice(turn), ...patterns.slice(0, turn)];
      const { config } = loadTree(treeOf({ 'a.vgo': list(order) }));
      for (const host of ['web1', 'web2', 'x-db', 'abc', 'w1', 'zzz', 'q', 'xeb2'])
        expect(entryFor(config, host)?.ordinal).toBe(
          config.entries.find((entry) => entryFor({ ...config, entries: [{ ...entry, ordinal: 0 }] }, host))?.ordinal,
        );
    }
  });

  test('three shapes of an entry file compile to the same body', () => {
    const module = { 'modules/a.vgo': 'name: a\nresources: []' };
    const shapes = ['[{ match: "h*", modules: [a] }]', 'match: "h*"\nmodules: [a]', 'nodes:\n  - hostname: "h*"\n    configcrates: a\n'];
    const stamp = { release: 1, version: 'v', secretsEpoch: 0 };
    const bodies = shapes.map((shape) => bodyBytes(compileFor({ ...module, 'e.vgo': shape }, 'h1'), stamp).toString());
    expect(new Set(bodies).size).toBe(1);
  });
});

describe('reading a directory', () => {
  const made: string[] = [];
  afterEach(async () => {
    for (const directory of made.splice(0)) await rm(directory, { recursive: true });
  });
  const directory = async (): Promise<string> => {
    const path = await mkdtemp(join(tmpdir(), 'vigo-tree-'));
    made.push(path);
    return path;
  };

  test('ignored names are not published, links are refused, the root hash ignores order and dates', async () => {
    const a = await directory();
    const b = await directory();
    for (const [base, names] of [[a, ['x.vgo', 'a.vgo']] as const, [b, ['a.vgo', 'x.vgo']] as const]) {
      await mkdir(join(base, 'templates'));
      await writeFile(join(base, 'templates/t.conf'), 't');
      for (const name of names) await writeFile(join(base, name), `match: ${name}`);
    }
    for (const name of ['notes.vgo.example', '.hidden.vgo', 'x.vgo~', 'x.vgo.swp', '#x.vgo#', 'readme.txt'])
      await writeFile(join(a, name), 'x');
    const [left, right] = [await readTree(a), await readTree(b)];
    expect(left.problems).toEqual([]);
    expect([...left.tree.keys()].sort()).toEqual(['a.vgo', 'templates/t.conf', 'x.vgo']);
    expect(rootOfTree(left.tree)).toBe(rootOfTree(right.tree));
    await writeFile(join(b, 'a.vgo'), 'match: a.vgo', { mode: 0o644 });
    const { chmod } = await import('node:fs/promises');
    await chmod(join(b, 'a.vgo'), 0o755);
    expect(rootOfTree((await readTree(b)).tree)).not.toBe(rootOfTree(left.tree));
    await symlink('../x.vgo', join(a, 'link.vgo'));
    expect((await readTree(a)).problems.map(({ rule }) => rule)).toEqual(['TREE-4']);
  });

  test('the root hash is the one of the specification', () => {
    const files = buildManifest(treeOf({ 'b.vgo': '', 'a.vgo': 'x' }));
    expect(files.map(({ path }) => path)).toEqual(['a.vgo', 'b.vgo']);
    // printf 'vigo-manifest-v1\n0644 1 2d71…81881 a.vgo\n0644 0 e3b0…b855 b.vgo\n' | sha256sum
    expect(rootHash(files)).toBe('a1077950fa80243dc1332cb71f1a64c5ae88eb6a22f2d7d3ad961bd558544da1');
  });

  test('oversize files and control characters in names', async () => {
    const path = await directory();
    await writeFile(join(path, 'big.vgo'), Buffer.alloc(1024 ** 2 + 1, 0x20));
    await writeFile(join(path, 'a\nb.vgo'), 'match: x');
    expect((await readTree(path)).problems.map(({ rule }) => rule).sort()).toEqual(['LIMIT-1', 'TREE-3']);
  });
});

describe('speed', () => {
  const big = (): Files => {
    const files: Record<string, string> = {};
    for (let m = 0; m < 40; m++) {
      const resources = Array.from(
        { length: 10 },
        (_, r) =>
          `  - name: File ${r}\n    type: file\n    target_path: /opt/m${m}/f${r}\n    content: "p {{ .Vars.p${m} }} {{ .Vars.site }}"\n    when: "os_family('debian')"\n`,
      );
      files[`modules/m${m}.vgo`] = `name: m${m}\nvars: { p${m}: ${m} }\nresources:\n${resources.join('')}`;
    }
    for (let e = 0; e < 200; e++)
      files[`s${e % 10}/e${e}.vgo`] =
        `match: ["web${e}-*.example.com"]\nvars: { site: s${e} }\nmodules: [${Array.from({ length: 15 }, (_, i) => `m${(e + i * 2) % 40}`).join(', ')}]\n`;
    return files;
  };

  test('200 policies for 10,000 envoys are loaded, compiled, checked and matched in far less than the time of one check-in', async () => {
    const started = performance.now();
    const { config, compiled, problems } = await validateTree(treeOf(big()), { secretExists: async () => true });
    let bytes = 0;
    for (const each of compiled) bytes += bodyBytes(each, { release: 1, version: 'v', secretsEpoch: 0 }).byteLength;
    let matched = 0;
    for (let host = 0; host < 10_000; host++) if (entryFor(config, `web${host % 200}-${host}.example.com`) !== undefined) matched++;
    const took = performance.now() - started;
    expect([compiled.length, matched, problems.filter(({ severity }) => severity !== 'info')]).toEqual([200, 10_000, []]);
    expect(new Set(compiled.map(({ policyHash }) => policyHash)).size).toBe(200);
    expect(bytes).toBeGreaterThan(1_000_000);
    // the budget is 1.5 s on a quiet machine; a busy one gets more
    expect(took).toBeLessThan(20_000);
  });

  test('10,000 hosts against 5,000 patterns', () => {
    const lines = Array.from({ length: 5_000 }, (_, i) => `- match: "${i % 2 === 0 ? `*.zone${i}.example.com` : `rack${i}-*`}"`);
    const { config } = loadTree(treeOf({ 'a.vgo': lines.join('\n') }));
    const started = performance.now();
    for (let host = 0; host < 10_000; host++) entryFor(config, `rack${host % 5_000}-n.zone${host % 4_999}.example.com`);
    expect(performance.now() - started).toBeLessThan(10_000);
  });
});
