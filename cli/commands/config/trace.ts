/** `vigocli config trace`. */
import { z } from 'zod';
import { traceConfig } from '../../../core/api/config.ts';
import { formatDuration } from '../../../core/base/duration.ts';
import { CodedError } from '../../../core/base/errors.ts';
import { isPlainObject } from '../../../core/base/json.ts';
import type { OutputOptions } from '../../../core/command/command.ts';
import { flag } from '../../../core/command/flags.ts';
import { type Column, formatJson, formatTable } from '../../../core/command/output.ts';
import { cliCommand, withClient } from '../../globals.ts';

/** config.md §19.1, in this order */
const SECTIONS = [
  ['path', 'path', 'Path inheritance'],
  ['module', 'modules', 'Module inheritance'],
  ['variable', 'variables', 'Variable inheritance'],
  ['dependency', 'dependencies', 'Dependency inheritance'],
  ['dependency', 'order', 'Execution order'],
  ['conditional', 'conditions', 'Conditional inheritance'],
  ['compliance', 'compliance', 'Compliance inheritance'],
  ['waiver', 'waivers', 'Waiver inheritance'],
] as const;

const MAX_CELL = 60;

function cell(value: unknown): string {
  if (value === undefined || value === null) return '';
  if (Array.isArray(value) && value.every((each) => typeof each === 'string')) return value.join(', ');
  return typeof value === 'object' ? JSON.stringify(value) : String(value);
}

/** Long values are cut, except with `--output wide` and in CSV. */
function shown(value: unknown, { form }: OutputOptions): string {
  if (typeof value === 'boolean') return value ? 'yes' : 'no';
  const text = cell(value);
  return form !== 'table' || text.length <= MAX_CELL ? text : `${text.slice(0, MAX_CELL - 1)}…`;
}

/** `file` and `line` as one column, at the end. */
function columnsOf(rows: readonly Record<string, unknown>[]): Column<Record<string, unknown>>[] {
  const names = [...new Set(rows.flatMap((row) => Object.keys(row)))].filter((name) => name !== 'file' && name !== 'line');
  const place: Column<Record<string, unknown>> = {
    title: 'FROM',
    value: (row) => (row['file'] === undefined ? '' : `${cell(row['file'])}:${cell(row['line'])}`),
  };
  return [
    ...names.map(
      (name): Column<Record<string, unknown>> => ({
        title: name.toUpperCase().replaceAll('_', '-'),
        value: (row, output) => shown(row[name], output),
      }),
    ),
    place,
  ];
}

export const configTrace = cliCommand({
  name: ['config', 'trace'],
  summary: 'why a host has the policy it has, or who gets a module; each fact with file and line',
  flags: z.object({
    section: flag.many('only these: path, module, variable, dependency, conditional, compliance, waiver', { value: 'name,…' }),
    stage: flag.on('the stage instead of the live release'),
    release: flag.whole('another release'),
    env: flag.text('as if in this environment'),
    resource: flag.text('only this resource', { value: 'module/name' }),
    module: flag.on('the name is a module, even if a host has it too'),
  }),
  positional: [{ name: 'name', summary: 'host or module' }],
  run: (input, io) =>
    withClient(input, io, async (client, output) => {
      const { section, stage, release, env, resource, module } = input.flags;
      const wanted = section.flatMap((each) => each.split(','));
      const unknown = wanted.find((each) => !SECTIONS.some(([name]) => name === each));
      if (unknown !== undefined) throw new CodedError('USAGE', `unknown section "${unknown}"`);
      const yes = (on: boolean) => (on ? ('true' as const) : undefined);
      const query = {
        name: input.args[0]!,
        stage: yes(stage),
        module: yes(module),
        release,
        env,
        resource,
        sections: wanted.length === 0 ? undefined : wanted.join(','),
      };
      const trace = await client.call(traceConfig, { query });
      const isHost = trace.host !== null;
      if (output.form === 'json') io.out(formatJson(trace));
      else {
        io.out(`${isHost ? 'host' : 'module'} ${input.args[0]}  release ${trace.release}  match ${cell(trace.match) || '(none)'}\n`);
        const age = trace['predicted_age_s'];
        if (typeof age === 'number') io.out(`predicted from traits that are ${formatDuration(age * 1000)} old\n`);
        for (const [name, key, title] of SECTIONS) {
          const rows = trace[key];
          if ((wanted.length > 0 && !wanted.includes(name)) || !Array.isArray(rows)) continue;
          const listed = rows.filter(isPlainObject);
          io.out(`\n${title}\n${listed.length === 0 ? '(none)\n' : formatTable(columnsOf(listed), listed, output)}`);
        }
        for (const [key, rows] of Object.entries(trace)) {
          if (isHost || !Array.isArray(rows) || SECTIONS.some(([, known]) => known === key)) continue;
          const listed = rows.filter(isPlainObject);
          io.out(`\n${key}\n${listed.length === 0 ? '(none)\n' : formatTable(columnsOf(listed), listed, output)}`);
        }
      }
      return isHost && trace.match === null ? 7 : 0;
    }),
});
