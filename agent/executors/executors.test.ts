/** Runs every golden case: what a machine is given, what is asked for, what is seen and done, and how the machine is afterwards. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { parse } from 'yaml';
import { z } from 'zod';
import { CodedError, messageOf } from '../../core/base/errors.ts';
import { RESOURCES } from '../../core/resources/index.ts';
import { FakeSystem, type FileGiven } from '../../test/fakes/fake-system.ts';
import { quietLog } from '../../test/fakes/quiet-log.ts';
import { choosePlatform } from '../system/choose-platform.ts';
import type { ExecutorContext } from './executor.ts';
import { heldBack } from './guards.ts';
import { EXECUTORS, executorFor } from './index.ts';

const GOLDEN = join(import.meta.dirname, 'golden');

const octal = z
  .string()
  .regex(/^[0-7]{3,4}$/)
  .transform((text) => Number.parseInt(text, 8));
const fileSchema = z.union([
  z.string(),
  z.null(),
  z.strictObject({
    kind: z.enum(['file', 'directory', 'symlink', 'other']).optional(),
    content: z.string().optional(),
    base64: z.string().optional(),
    mode: octal.optional(),
    owner: z.string().optional(),
    group: z.string().optional(),
    to: z.string().optional(),
    sameAs: z.string().optional(),
  }),
]);
const argvSchema = z.union([z.string().transform((text) => text.split(' ')), z.array(z.string())]);
const answerSchema = z.strictObject({
  argv: argvSchema,
  code: z.number().optional(),
  stdout: z.string().optional(),
  stderr: z.string().optional(),
  stdin: z.string().optional(),
  timeout: z.boolean().optional(),
  files: z.record(z.string(), fileSchema).optional(),
});
const caseSchema = z.strictObject({
  about: z.string(),
  given: z
    .strictObject({
      files: z.record(z.string(), fileSchema).optional(),
      commands: z.array(z.string()).optional(),
      run: z.array(answerSchema).optional(),
      failWrites: z.string().optional(),
      dryRun: z.boolean().optional(),
    })
    .default({}),
  attributes: z.record(z.string(), z.json()),
  want: z.strictObject({
    outcome: z.string(),
    message: z.string().optional(),
    changes: z.array(z.strictObject({ attribute: z.string(), from: z.json(), to: z.json(), secret: z.boolean().optional() })).optional(),
    commands: z.array(argvSchema).optional(),
    options: z.record(z.string(), z.json()).optional(),
    started: argvSchema.optional(),
    files: z.record(z.string(), fileSchema).optional(),
    output: z.string().optional(),
  }),
});
type Case = z.output<typeof caseSchema>;

interface Seen {
  readonly outcome: string;
  readonly message?: string;
  readonly changes: unknown;
  readonly applied: FakeSystem['ran'];
  readonly output: string;
  readonly system: FakeSystem;
}

async function play(type: string, { given, attributes }: Case): Promise<Seen> {
  const system = new FakeSystem(given as ConstructorParameters<typeof FakeSystem>[0]);
  const executor = executorFor(type)!;
  let output = '';
  const context: ExecutorContext = {
    system,
    platform: await choosePlatform(system),
    traits: {},
    notifiedBy: [],
    log: quietLog(),
    signal: new AbortController().signal,
    snapshot: async () => undefined,
    output: (text) => {
      output += text;
    },
    dryRun: given.dryRun ?? false,
    timeoutMs: 300_000,
  };
  let changes: readonly unknown[] = [];
  const seen = (outcome: string, applied: FakeSystem['ran'] = [], message?: string): Seen => ({
    outcome,
    changes,
    applied,
    output,
    system,
    ...(message === undefined ? {} : { message }),
  });
  let before = 0;
  try {
    const want = executor.spec.attributes.parse(attributes);
    const reason = await heldBack(attributes, context);
    if (reason !== undefined) return seen('skipped/guard', [], reason);
    const found = await executor.check(want, context);
    changes = found;
    if (found.length === 0) return seen('none');
    const absent = attributes['state'] === 'absent';
    const created = found.some(({ attribute, to }) => attribute === 'exists' && to === true);
    const verb = executor.verb?.(want, found) ?? (absent ? 'deleted' : created ? 'created' : 'updated');
    if (context.dryRun) return seen(verb);
    system.failWrites = given.failWrites;
    before = system.ran.length;
    await executor.apply(want, found, context);
    const applied = system.ran.slice(before);
    if (executor.eventful?.(want) === true) return seen(verb, applied);
    const left = await executor.check(want, context);
    return seen(left.length === 0 ? verb : `error/verify_failed ${JSON.stringify(left)}`, applied);
  } catch (thrown) {
    const code =
      thrown instanceof z.ZodError ? 'BAD_REQUEST' : thrown instanceof CodedError ? thrown.code : (thrown as { code?: string }).code;
    const message = thrown instanceof z.ZodError ? z.prettifyError(thrown) : messageOf(thrown);
    return seen(`throws ${code ?? message}`, before === 0 ? [] : system.ran.slice(before), message);
  }
}

async function expectFile(system: FakeSystem, path: string, wanted: FileGiven | string | null): Promise<void> {
  const stat = await system.stat(path);
  if (wanted === null) return expect({ path, stat }).toEqual({ path, stat: undefined });
  const { content, ...rest } = typeof wanted === 'string' ? { content: wanted } : wanted;
  if (content !== undefined) expect({ path, content: (await system.readFile(path))?.toString() }).toEqual({ path, content });
  const to = await system.readLink(path);
  expect({ path, ...stat, ...(to === undefined ? {} : { to }) }).toMatchObject({ path, ...rest });
}

describe.each(EXECUTORS.map(({ spec }) => spec.type))('%s', (type) => {
  const folder = join(GOLDEN, type);
  const files = readdirSync(folder).filter((name) => name.endsWith('.yaml'));

  test('has the four cases that every type owes', () => {
    for (const name of ['missing', 'drifted', 'right', 'failing']) expect(files).toContain(`linux-${name}.yaml`);
  });

  test.each(files)('%s', async (name) => {
    const one = caseSchema.parse(parse(readFileSync(join(folder, name), 'utf8')));
    const seen = await play(type, one);
    const { outcome, message, changes, commands, files: after, output, options, started } = one.want;
    expect({ outcome: seen.outcome, message: seen.message }).toEqual({
      outcome,
      message: message === undefined ? seen.message : expect.stringContaining(message),
    });
    if (changes !== undefined) expect(seen.changes).toEqual(changes);
    if (commands !== undefined) expect(seen.applied.filter((ran) => ran.started !== true).map(({ argv }) => argv)).toEqual(commands);
    if (started !== undefined) expect(seen.applied.find((ran) => ran.started)?.argv).toEqual(started);
    if (options !== undefined) expect(seen.applied.at(-1)?.options).toMatchObject(options);
    if (output !== undefined) expect(seen.output).toBe(output);
    for (const [path, wanted] of Object.entries(after ?? {})) await expectFile(seen.system, path, wanted as FileGiven | string | null);
  });
});

test('every resource type has its executor and the other way round', () => {
  expect(EXECUTORS.map(({ spec }) => spec.type)).toEqual(RESOURCES.map(({ type }) => type));
  expect(EXECUTORS.map(({ spec }) => spec)).toEqual(RESOURCES);
});
