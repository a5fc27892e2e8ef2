/** Conditions: parsing, the server's half, the agent's half (config.md §22, cases 34-41). */
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { CodedError } from '../base/errors.ts';
import type { Json } from '../base/json.ts';
import { parseTemplate } from '../template/parse.ts';
import { renderTemplate } from '../template/render.ts';
import type { Ast, TextPart } from './ast.ts';
import { evaluateWhen } from './evaluate.ts';
import type { LocalTime, WhenFacts } from './facts.ts';
import { type FoldContext, foldWhen, whenSide } from './fold.ts';
import { formatWhen } from './format.ts';
import { parseWhen } from './parse.ts';
import { predictWhen } from './predict.ts';
import { compareVersions } from './version-order.ts';

const TRAITS: Readonly<Record<string, Json>> = {
  os: { family: 'debian', distro: 'mint', upstream_id: 'ubuntu', version: '22.4', arch: 'amd64', arch_raw: 'x86_64' },
  memory: { total_mb: 4000 },
  virtual: { is_container: false, hypervisor: 'kvm', container: 'none' },
  network: { ip_addresses: ['10.0.1.5'] },
  a: { b: 0, c: '', d: 'x', e: [] },
};
const NOW: LocalTime = { hour: 23, minute: 30, weekday: 6, day: 28, daysInMonth: 28 };

function render(action: string, data: Record<string, unknown>): string {
  const { template, problems } = parseTemplate(`{{${action}}}`, 'interpolation');
  if (template === undefined) throw new Error(problems[0]!.message);
  return renderTemplate(template, data);
}

function factsOf(
  more: { traits?: WhenFacts['traits']; vars?: Record<string, Json>; now?: Partial<LocalTime> } = {},
): WhenFacts & { readonly asked: string[] } {
  const traits = more.traits ?? TRAITS;
  const asked: string[] = [];
  const remember = <T>(question: string, answer: T): Promise<T> => {
    asked.push(question);
    return Promise.resolve(answer);
  };
  return {
    asked,
    traits,
    environment: 'prod',
    hostname: 'web-01.example.com',
    render: (action) => render(action, { Vars: more.vars ?? {}, Traits: traits }),
    now: { ...NOW, ...more.now },
    probe: {
      hasCommand: (name) => remember(`command ${name}`, name === 'curl'),
      hasPackage: (name) => remember(`package ${name}`, name === 'nginx'),
      packageVersion: (name) => remember(`version ${name}`, name === 'nginx' ? '1:1.24.0-2ubuntu7' : undefined),
      serviceRunning: (name) => remember(`service ${name}`, name === 'ssh'),
      processRunning: (name) => remember(`process ${name}`, name === 'sshd'),
      portListening: (port) => remember(`port ${port}`, port === 22),
      fileKind: (path) => {
        asked.push(path);
        if (path === '/denied') return Promise.reject(Object.assign(new Error('EACCES: permission denied'), { code: 'EACCES' }));
        return Promise.resolve(path === '/etc/passwd' ? 'file' : path === '/etc' ? 'directory' : undefined);
      },
      commandSucceeds: (text) => remember(text, text === 'true'),
    },
  };
}

function parse(text: string): Ast {
  const { ast, problems } = parseWhen(text);
  if (ast === undefined) throw new Error(problems.map((problem) => `${problem.rule} ${problem.message}`).join());
  return ast;
}

async function decide(text: string, facts: WhenFacts = factsOf()): Promise<boolean | string> {
  try {
    return await evaluateWhen(parse(text), facts);
  } catch (error) {
    if (error instanceof CodedError) return error.code;
    throw error;
  }
}

function contextOf(more: { vars?: Record<string, Json>; environment?: string | null; changedAllowed?: boolean } = {}): FoldContext {
  return {
    environment: more.environment === undefined ? 'dev' : more.environment,
    renderStatic: (action) => (action.includes('.Traits') ? undefined : render(action, { Vars: more.vars ?? {} })),
    changedAllowed: more.changedAllowed ?? true,
  };
}

test('! binds tighter than &&, && tighter than ||', () => {
  expect(parse('!is_container() || arch("x") && distro(\'y\')')).toEqual(parse('(!is_container) || (arch("x") && distro("y"))'));
});

test.each<[string, string, string | undefined]>([
  ["os_family('debian'", 'WHEN-1', undefined],
  ["os_famly('x')", 'WHEN-2', 'did you mean "os_family"?'],
  ['arch()', 'WHEN-3', undefined],
  ['arch', 'WHEN-3', undefined],
  ["hour_range('7','25')", 'WHEN-3', undefined],
  ["hostname('[')", 'WHEN-3', undefined],
  ["has_enough_ram('much')", 'WHEN-3', undefined],
  ["has_command('/bin/sh')", 'WHEN-3', undefined],
  ["file_exists('etc')", 'WHEN-3', undefined],
  ['port_listening(0)', 'WHEN-3', undefined],
  ['port_listening(70000)', 'WHEN-3', undefined],
  ["day_of_week('someday')", 'WHEN-3', undefined],
  ['day_of_month(0)', 'WHEN-3', undefined],
  ['day_of_month(32)', 'WHEN-3', undefined],
  ["local_time('25:00','1:00')", 'WHEN-3', undefined],
  ["eq('{{ now }}', 'x')", 'TPL-2', undefined],
  ["eq('{{ if .Vars.x }}', 'x')", 'TPL-3', undefined],
  ["eq('{{ .Vars.x ', 'x')", 'TPL-1', undefined],
  ['true true', 'WHEN-1', undefined],
  ['a == b', 'WHEN-1', undefined],
  ['eq("a\\q", "b")', 'WHEN-1', undefined],
  [`${'('.repeat(70)}true${')'.repeat(70)}`, 'WHEN-1', undefined],
  [`eq('${'x'.repeat(4100)}','x')`, 'WHEN-1', undefined],
])('%s is %s', (...[text, rule, hint]) => {
  const { ast, problems } = parseWhen(text);
  expect(ast).toBeUndefined();
  expect(problems.some((problem) => problem.rule === rule && (hint === undefined || problem.hint === hint))).toBe(true);
});

test.each<[string, boolean | string, Parameters<typeof factsOf>[0]?]>([
  ['', true],
  ['YES && !no', true],
  ["environment('dev', 'PROD')", true],
  ["eq('a', 'A')", false],
  ["os_family('Debian')", true],
  ["os_family('linux')", true],
  ["os_family('bsd')", false],
  ["os_family('redhat')", true, { traits: { os: { family: 'rhel' } } }],
  ["os_family('macos')", true, { traits: { os: { family: 'darwin' } } }],
  ["os_family('bsd')", true, { traits: { os: { family: 'openbsd' } } }],
  ["os_family('debian')", 'EVAL_ERROR', { traits: {} }],
  ["distro('ubuntu')", true],
  ["arch('X86_64')", true],
  ["version_ge('22.04')", true],
  ['version_ge(22.10)', false],
  ["version_ge('nginx', '1.9')", true],
  ["version_ge('absent', '1')", false],
  ["version_ge('22.04')", 'EVAL_ERROR', { traits: {} }],
  ["hostname('WEB-*')", true],
  ['is_container', false],
  ["virtual('KVM') && !virtual('none')", true],
  ["has_trait('a.b') || has_trait('a.c') || has_trait('a.e') || has_trait('a.zz')", false],
  ["has_trait('a.d')", true],
  ["has_trait('network.ip_addresses', '10.0.1.5')", true],
  ["has_trait('network.ip_addresses', '10.0.1.6')", false],
  ["has_trait('a.b', '0')", true],
  ["has_trait('__proto__') || has_trait('a.constructor')", false],
  ['has_enough_ram(4000) && !has_enough_ram(4001)', true],
  ["has_command('curl') && has_package('nginx') && service_running('ssh') && process_running('sshd') && port_listening(22)", true],
  ["file_exists('/etc/passwd') && !file_exists('/etc') && dir_exists('/etc') && !dir_exists('/none')", true],
  ["file_exists('/denied')", 'EVAL_ERROR'],
  ["command_succeeds('true')", true],
  ["command_succeeds('exit 3')", false],
  ["hour_range('22','5')", true],
  ["hour_range('22','5')", false, { now: { hour: 5 } }],
  ["hour_range('7','7')", false],
  ["minute_range('15','45')", true],
  ["local_time('23:30','23:31')", true],
  ["day_of_week('sat')", true],
  ["day_of_week('sunday', 'Mon')", false],
  ['day_of_month(-1)', true],
  ['day_of_month(1, 28)', true],
  ["eq('{{ .Traits.os.family }}', 'debian')", true],
  ["eq('{{ .Vars.tier }}', 'gold')", false, { vars: { tier: "x') || eq('a','a" } }],
  ['{{ .Traits.os.distro }}', 'EVAL_ERROR'],
  ['{{ .Vars.flag }}', false, { vars: { flag: '' } }],
  ['{{ .Vars.flag }}', true, { vars: { flag: 1 } }],
  ['{{ .Vars.flag }}', 'EVAL_ERROR', { vars: {} }],
  ["port_listening('{{ .Vars.port }}')", 'EVAL_ERROR', { vars: { port: 'x' } }],
])('%s gives %s', async (...[text, expected, more]) => {
  expect(await decide(text, factsOf(more))).toBe(expected);
});

test('evaluation stops as soon as it is decided', async () => {
  const facts = factsOf();
  expect(await evaluateWhen(parse("has_command('curl') || file_exists('/denied')"), facts)).toBe(true);
  expect(await evaluateWhen(parse("has_command('x') && file_exists('/denied')"), facts)).toBe(false);
  expect(facts.asked).toEqual(['command curl', 'command x']);
});

test('a condition of a newer server is an eval_error', async () => {
  await expect(evaluateWhen({ op: 'call', name: 'moon_phase', args: [] }, factsOf())).rejects.toMatchObject({ code: 'EVAL_ERROR' });
  await expect(evaluateWhen({ op: 'call', name: 'constructor', args: [] }, factsOf())).rejects.toMatchObject({ code: 'EVAL_ERROR' });
});

test.each<[string, boolean | undefined]>([
  ["os_family('debian')", true],
  ["has_command('curl')", undefined],
  ["has_command('curl') && os_family('rhel')", false],
  ["has_command('curl') || os_family('debian')", true],
  ["!hour_range('1', '2')", undefined],
  ["os_family('debian') && has_command('curl')", undefined],
  ["version_ge('nginx', '1')", undefined],
  ["version_ge('20.04')", true],
  ["eq('{{ .Traits.nope }}', 'x')", undefined],
])('prediction of %s is %s', (text, expected) => {
  expect(predictWhen(parse(text), factsOf())).toBe(expected);
});

describe('folding', () => {
  const fold = (text: string, context = contextOf()) => {
    const ast = parse(text);
    const folded = foldWhen(ast, text, context);
    return {
      ...folded,
      side: whenSide(ast, folded),
      resolved: folded.cond?.resolved,
      rules: folded.problems.map((problem) => problem.rule),
    };
  };

  test.each<[string, object, FoldContext?]>([
    ["changed && os_family('debian')", { kind: 'rest', triggerOnly: true, resolved: "os_family('debian')", side: 'split', rules: [] }],
    ['changed', { kind: 'true', triggerOnly: true, rules: [], side: 'server' }],
    ["(changed) && environment('dev')", { kind: 'true', triggerOnly: true, rules: [] }],
    ['changed || is_container', { rules: ['WHEN-4'] }],
    ['!changed', { rules: ['WHEN-4'] }],
    ['changed', { rules: ['WHEN-4'] }, contextOf({ changedAllowed: false })],
    ["environment('prod')", { kind: 'false', rules: [] }],
    ["environment('prod')", { kind: 'false' }, contextOf({ environment: null })],
    ["!environment('prod') || is_container", { kind: 'true' }],
    ["environment('dev') && arch('arm64')", { kind: 'rest', resolved: "arch('arm64')", side: 'split' }],
    ["arch('arm64')", { kind: 'rest', side: 'agent', triggerOnly: false }],
    ["eq('{{ .Vars.tier }}', 'gold')", { kind: 'false', rules: [] }, contextOf({ vars: { tier: "x') || eq('a','a" } })],
    ['{{ .Vars.flag }}', { rules: ['WHEN-3'] }, contextOf({ vars: { flag: 'maybe' } })],
    ['{{ .Vars.flag }}', { kind: 'false', rules: [] }, contextOf({ vars: { flag: '' } })],
    ['{{ .Traits.os.distro }}', { kind: 'rest', side: 'agent' }],
    ["port_listening('{{ .Vars.port }}')", { rules: ['WHEN-3'] }, contextOf({ vars: { port: 0 } })],
    ["hostname('{{ .Vars.p }}-*')", { resolved: "hostname('it\\'s-*')", side: 'split' }, contextOf({ vars: { p: "it's" } })],
  ])('%s', (...[text, expected, context]) => {
    expect(fold(text, context)).toMatchObject(expected);
  });
});

test.each([
  ['1.10', '1.9', 1],
  ['22.4', '22.04', 0],
  ['v1.2', '1.2', 0],
  ['1.0', '1.0.0', 0],
  ['1:0.1', '9', 1],
  ['1.0~rc1', '1.0', -1],
  ['1.0~rc1', '1.0~rc2', -1],
  ['2.0-1ubuntu2', '2.0-1ubuntu10', 1],
  ['1.0b', '1.0a', 1],
  ['99999999999999999999', '99999999999999999998', 1],
])('version %s against %s', (a, b, expected) => {
  expect(Math.sign(compareVersions(a, b))).toBe(expected);
  expect(Math.sign(compareVersions(b, a))).toBe(expected === 0 ? 0 : -expected);
});

describe('properties', () => {
  const word = fc.constantFrom('a', 'dev', "it's", 'x\\y', '{{ .Vars.v }}', '{{ .Traits.os.family }}', 'l\nm');
  const part = word.map((text): TextPart => (text.startsWith('{{') ? { action: text.slice(2, -2) } : text));
  const arg = fc.array(part, { minLength: 1, maxLength: 3 }).map((parts) => {
    const joined: TextPart[] = [];
    for (const each of parts) {
      const last = joined.at(-1);
      if (typeof last === 'string' && typeof each === 'string') joined[joined.length - 1] = last + each;
      else joined.push(each);
    }
    return { kind: 'text' as const, parts: joined };
  });
  const { ast } = fc.letrec<{ ast: Ast }>((tie) => ({
    ast: fc.oneof(
      { maxDepth: 5 },
      fc.record({ op: fc.constant('bool' as const), value: fc.boolean() }),
      fc.constantFrom<Ast>(
        { op: 'action', action: ' .Vars.yes ' },
        { op: 'action', action: ' .Traits.no ' },
        { op: 'call', name: 'is_container', args: [] },
      ),
      fc.record({ op: fc.constant('call' as const), name: fc.constantFrom('eq', 'environment'), args: fc.tuple(arg, arg) }),
      fc.record({ op: fc.constant('not' as const), of: tie('ast') }),
      fc.record({ op: fc.constantFrom('and' as const, 'or' as const), left: tie('ast'), right: tie('ast') }),
    ),
  }));
  const vars = { v: 'a', yes: true };
  const traits = { ...TRAITS, no: false };
  const facts = factsOf({ vars, traits });

  test('text and tree are the same condition', () => {
    fc.assert(fc.property(ast, (tree) => expect(parse(formatWhen(tree))).toEqual(tree)));
  });

  test('folding, then evaluating the rest, equals evaluating the whole', async () => {
    await fc.assert(
      fc.asyncProperty(ast, async (tree) => {
        const folded = foldWhen(tree, formatWhen(tree), contextOf({ vars, environment: 'prod' }));
        expect(folded.problems).toEqual([]);
        const rest = folded.cond === undefined ? folded.kind === 'true' : await evaluateWhen(folded.cond.ast, facts);
        expect(rest).toBe(await evaluateWhen(tree, facts));
      }),
    );
  });

  test('every text parses or names a problem', () => {
    const token = fc.constantFrom(
      '(',
      ')',
      '&&',
      '||',
      '!',
      "'",
      '"',
      ',',
      'eq',
      'true',
      '{{',
      '}}',
      '.Vars.x',
      ' ',
      '1',
      '-',
      '\\',
      'changed',
    );
    fc.assert(
      fc.property(fc.array(token, { maxLength: 80 }), (tokens) => {
        const result = parseWhen(tokens.join(''));
        expect(result.problems.length === 0).toBe(result.ast !== undefined);
      }),
      { numRuns: 2000 },
    );
  });

  test('the order of versions is total', () => {
    const version = fc
      .array(fc.constantFrom('1', '10', '.', '-', '~', 'a', 'v', ':', '+', '0'), { maxLength: 8 })
      .map((parts) => parts.join(''));
    fc.assert(
      fc.property(version, version, version, (a, b, c) => {
        expect(Math.sign(compareVersions(a, b)) + Math.sign(compareVersions(b, a))).toBe(0);
        if (compareVersions(a, b) <= 0 && compareVersions(b, c) <= 0) expect(compareVersions(a, c)).toBeLessThanOrEqual(0);
      }),
      { numRuns: 5000 },
    );
  });
});
