/** The template language against the answers of Go itself, and what vigo adds to it. */
import { readFileSync } from 'node:fs';
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { TEMPLATE_FUNCTIONS } from './functions/index.ts';
import { parseTemplate, type TemplateMode } from './parse.ts';
import { renderTemplate } from './render.ts';
import { substituteActions } from './substitute.ts';
import { templateUses } from './uses.ts';

interface GoCase {
  readonly name: string;
  readonly template: string;
  readonly output?: string;
  readonly error?: boolean;
}

const oracle = JSON.parse(readFileSync(new URL('../../test/fixtures/gotemplate-cases.json', import.meta.url), 'utf8')) as {
  readonly data: Record<string, unknown>;
  readonly cases: readonly GoCase[];
};

function render(text: string, data: Record<string, unknown> = oracle.data, mode: TemplateMode = 'content'): string {
  const { template, problems } = parseTemplate(text, mode);
  if (template === undefined) throw new Error(`${problems[0]!.rule} ${problems[0]!.message}`);
  return renderTemplate(template, data);
}

function outcome(text: string, data?: Record<string, unknown>): string | { error: string } {
  try {
    return render(text, data);
  } catch (error) {
    return { error: (error as Error).message };
  }
}

/** Numbers of mixed kind compare numerically: here Go refuses and vigo answers. */
const MIXED_NUMBERS: Readonly<Record<string, string>> = { '{{eq 1 1.0}}': 'true', '{{lt 1 2.5}}': 'true' };

describe('Go is the oracle', () => {
  test('holds the 105 recorded cases', () => {
    expect(oracle.cases.length).toBe(105);
  });

  test.each(oracle.cases.map((each): [string, string, GoCase] => [each.name, each.template, each]))('%s %s', (_name, text, go) => {
    const ours = outcome(text);
    const mixed = MIXED_NUMBERS[text];
    if (mixed !== undefined) expect(ours).toBe(mixed);
    else if (go.output === undefined || /<no value>|<nil>|%!/.test(go.output)) expect(ours).toHaveProperty('error');
    else expect(ours).toBe(go.output);
  });
});

test.each([
  ['{{- range $k, $v := .Vars.m }}{{ $k }}={{ $v }};{{ end -}}', 'a=2;b=1;'],
  ['{{ printf "%05.2f" 3.14159 }}', '03.14'],
  ['{{ eq 1 1.0 }}', 'true'],
  ['{{ indent 2 "a\\n\\nb" }}', '  a\n\n  b'],
  ['{{ toJson (dict "b" 1 "a" 2) }}', '{"a":2,"b":1}'],
  [`{{ squote "it's" }}`, `'it'\\''s'`],
  ['{{ .Traits.nope.deep | default "d" }}', 'd'],
  ['{{ if .Traits.nope }}t{{ else }}f{{ end }}', 'f'],
  ['{{ with .Vars.none }}t{{ else }}f{{ end }}', 'f'],
  ['{{ coalesce .Vars.x "" "b" }}', 'b'],
  ['{{ ternary "a" "b" false }}', 'b'],
  ['{{ hasKey .Vars "m" }} {{ hasKey .Nope "m" }}', 'true false'],
  ['{{ get .Vars.m "zz" | default 7 }}', '7'],
  ['{{ list 1 2 2 3 | uniq | join "," }}', '1,2,3'],
  ['{{ concat (list 1) (list 2 3) | toJson }}', '[1,2,3]'],
  ['{{ keys .Vars.m }} {{ values .Vars.m }}', '[a b] [2 1]'],
  ['{{ "a,b" | split "," | last }}', 'b'],
  ['{{ trunc 2 "häuser" }} {{ upper "ä" }} {{ title "web server" }}', 'hä Ä Web Server'],
  ['{{ add 1 2 3 }} {{ sub 5 7 }} {{ div 7 2 }} {{ mod 7 4 }} {{ mul 2 1.5 }}', '6 -2 3 3 3'],
  ['{{ int "42" }} {{ int 3.9 }} {{ min 3 1 }} {{ max 3 1 }}', '42 3 1 3'],
  ['{{ b64enc "hi" }} {{ b64dec "aGk=" }}', 'aGk= hi'],
  ['{{ sha256 "" }}', 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'],
  ['{{ ipNetwork "10.1.2.3/20" }} {{ ipPrefix "10.1.2.3/20" }}', '10.1.0.0 20'],
  ['{{ ipNetwork "2001:db8:ff:1::1/33" }} {{ ipNetwork "::ffff:1.2.3.4/112" }}', '2001:db8:: ::ffff:102:0'],
  ['{{ toYaml (dict "b" (list 1 "x") "a" true) }}', 'a: true\nb:\n  - 1\n  - x'],
  ['{{ (fromJson "{\\"a\\":[1,2]}").a }}', '[1 2]'],
  ['{{ 1e21 }} {{ 0.00001 }} {{ 1.0 }} {{ 100000000000000000000.0 }}', '1e+21 1e-05 1 100000000000000000000'],
  ['{{ .Vars.constructor | default "safe" }}', 'safe'],
  ['{{ .Vars.__proto__ | default "safe" }}', 'safe'],
  ['{{ block "x" .Vars.m }}{{ .a }}{{ end }}', '2'],
  ['{{ lines "a\\nb\\n" }} {{ trimAll "-" "--a-" }} {{ replace "a" "b" "aa" }}', '[a b] a bb'],
  ['{{ quote "a\\"b" }} {{ nindent 1 "x" }}', '"a\\"b" \n x'],
  ['{{ printf "%[2]s-%[1]s" "a" "b" }} {{ printf "%+.1e" 12345.678 }} {{ printf "%q" "x\\n" }}', 'b-a +1.2e+04 "x\\n"'],
])('%s', (text, expected) => {
  expect(outcome(text, { Vars: { m: { b: 1, a: 2 }, none: null }, Traits: {} })).toBe(expected);
});

test.each([
  ['{{ .Traits.nope.deep }}', '.Traits.nope.deep'],
  ['{{ .Vars.text.x }}', 'no field'],
  ['{{ index .Vars.list 5 }}', 'out of range'],
  ['{{ div 1 0 }}', 'division by zero'],
  ['{{ required "give a port" .Vars.port }}', 'give a port'],
  ['{{ int "0x10" }}', 'not a decimal number'],
  ['{{ add 9007199254740991 1 }}', '2^53'],
  ['{{ range .Vars.nope }}{{ end }}', '.Vars.nope'],
  ['{{ repeat 9000000 "x" }}', '4 MiB'],
  ['{{ printf "%99999999d" 1 }}', 'printf'],
  ['{{ define "r" }}{{ template "r" . }}{{ end }}{{ template "r" . }}', 'deeper than 32'],
  ['{{ $a := "xx" }}{{ range .Vars.many }}{{ $a = print $a $a }}{{ end }}', '4 MiB'],
  ['{{ $a := list 1 2 }}{{ range .Vars.many }}{{ $a = list $a $a }}{{ end }}{{ $a }}', '4 MiB'],
  ['{{ $a := list 1 }}{{ range .Vars.many }}{{ range $.Vars.many }}{{ $a = list $a }}{{ end }}{{ end }}{{ $a }}', 'too deep'],
  ['{{ range .Vars.many }}{{ range $.Vars.many }}{{ range $.Vars.many }}x{{ end }}{{ end }}{{ end }}', '100000 steps'],
  ['{{ .Vars.when }}', 'plain data'],
])('refuses to render %s', (text, part) => {
  const many = Array.from({ length: 60 }, (_, i) => i);
  expect(outcome(text, { Vars: { text: 'x', list: [1], many, when: new Date(0) }, Traits: {} })).toEqual({
    error: expect.stringContaining(part),
  });
});

test.each<[TemplateMode, string, string]>([
  ['interpolation', '{{ if .Vars.x }}', 'TPL-3'],
  ['interpolation', '{{ $x := 1 }}', 'TPL-3'],
  ['interpolation', '{{ $.Vars.x }}', 'TPL-3'],
  ['content', '{{ now }}', 'TPL-2'],
  ['content', '{{ call .Vars.x }}', 'TPL-2'],
  ['content', '{{ .Vars.x 1 }}', 'TPL-2'],
  ['content', '{{ if .Vars.x }}', 'TPL-1'],
  ['content', '{{ $x }}', 'TPL-1'],
  ['content', '{{ "a" "b" }}', 'TPL-1'],
  ['content', '{{ len }}', 'TPL-1'],
  ['content', '{{ break }}', 'TPL-1'],
  ['content', '{{', 'TPL-1'],
  ['content', `{{ ${'('.repeat(500)}1${')'.repeat(500)} }}`, 'TPL-1'],
  ['content', '{{if 1}}'.repeat(5000), 'TPL-1'],
  ['content', `{{if 1}}${'{{else if 1}}'.repeat(5000)}{{end}}`, 'TPL-1'],
])('%s: %s is %s', (mode, text, rule) => {
  expect(parseTemplate(text, mode).problems.map((problem) => problem.rule)).toEqual([rule]);
});

test('hints at the function that was meant', () => {
  expect(parseTemplate('{{ .Vars.x | uper }}', 'content').problems[0]).toMatchObject({
    rule: 'TPL-2',
    hint: 'did you mean "upper"?',
    offset: 13,
  });
});

test.each<[string, readonly string[]]>([
  ['{{ .Vars.a }}', ['Vars.a']],
  ['{{ .Vars.a | default "x" }}', ['Vars.a?']],
  ['{{ .Vars.a | upper | default "x" }}', ['Vars.a']],
  ['{{ if .Vars.a }}{{ .Vars.a.b }}{{ .Vars.c }}{{ end }}', ['Vars.a?', 'Vars.a.b?', 'Vars.c']],
  ['{{ range .Vars }}{{ .x }}{{ end }}', ['Vars*']],
  ['{{ range $i, $e := .Vars.l }}{{ $e.x }}{{ $.Vars.q }}{{ end }}', ['Vars.l', 'Vars.q']],
  ['{{ with .Vars.m }}{{ .k }}{{ end }}', ['Vars.m?', 'Vars.m.k?']],
  ['{{ index .Vars "k" }}{{ index .Vars .Name }}', ['Vars.k', 'Name*', 'Vars*']],
  ['{{ hasKey .Vars "k" }}', ['Vars.k?']],
  ['{{ toJson . }}', ['(all)*']],
  ['{{ define "t" }}{{ .Vars.z }}{{ end }}{{ template "t" . }}', ['Vars.z']],
  ['{{ (.Traits.os).family | eq "x" }}', ['Traits.os.family']],
])('uses of %s', (text, expected) => {
  const uses = templateUses(parseTemplate(text, 'content').template!);
  expect(uses.map((use) => [use.root, ...use.path].join('.') + (use.guarded ? '?' : '') + (use.whole ? '*' : ''))).toEqual(expected);
});

describe('substitution', () => {
  const values: Record<string, string> = {
    '{{ .Item }}': 'one',
    '{{- .Item -}}': 'one',
    '{{.Item}}': '{{ .Vars.secret }}',
    '{{ .Each }}': '{',
  };
  const substitute = (text: string) => substituteActions(text, (action) => values[action.text]);
  test.each([
    ['a {{ .Item }} b {{ .Vars.x }}', 'a one b {{ .Vars.x }}'],
    ['a {{- .Item -}} b', 'aoneb'],
    ['no actions', 'no actions'],
    ['broken {{ .Item', 'broken {{ .Item'],
  ])('%s', (text, expected) => {
    expect(substitute(text)).toBe(expected);
  });

  test('data that looks like an action stays data', () => {
    expect(render(substitute('x{{.Item}}'), { Vars: { secret: 'no' } }, 'interpolation')).toBe('x{{ .Vars.secret }}');
    expect(render(substitute('{{ .Each }}{{ .Each }} .Vars.secret }}'), { Vars: { secret: 'no' } }, 'interpolation')).toBe(
      '{{ .Vars.secret }}',
    );
  });
});

test('every text parses or names a problem, and renders or fails, in bounded time', () => {
  const pieces = fc.constantFrom(
    '{{',
    '}}',
    '{{-',
    '-}}',
    ' ',
    '.',
    '$',
    '|',
    '(',
    ')',
    '"',
    '`',
    'if',
    'range',
    'end',
    'else',
    'a',
    '.Vars.x',
    '1',
    ':=',
    '/*',
    '*/',
    'print',
    '\n',
  );
  fc.assert(
    fc.property(fc.array(pieces, { maxLength: 60 }), (parts) => {
      const { template, problems } = parseTemplate(parts.join(''), 'content');
      expect(problems.length).toBe(template === undefined ? 1 : 0);
      if (template !== undefined) outcome(template.text);
    }),
    { numRuns: 2000 },
  );
});

test('every function has a documentation line', () => {
  for (const each of TEMPLATE_FUNCTIONS.values()) expect(each.doc.length).toBeGreaterThan(3);
});
