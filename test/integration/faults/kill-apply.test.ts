/** An agent that is killed in the middle of a run leaves whole files and a lock nobody has to clean up. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { afterAll, beforeAll, expect, jest, test } from '@jest/globals';
import { policyFrom } from '../../harness/policy.ts';

// real processes: patience for a busy machine
jest.setTimeout(60_000);

const FILES = 40;
const folder = mkdtempSync(join(tmpdir(), 'vigo-kill-'));
const tree = join(folder, 'tree');
const program = join(import.meta.dirname, '../../harness/converge-once.ts');
/** What a file may hold: a whole version, never a mixture. */
const version = (word: string, name: string) => `${word} ${name}\n`.repeat(20_000);

beforeAll(() => mkdirSync(tree));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

interface Agent {
  readonly child: ChildProcess;
  readonly started: Promise<void>;
  readonly ended: Promise<string>;
}

function agent(mode: 'daemon' | 'manual'): Agent {
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', program, folder, mode], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let text = '';
  const ended = new Promise<string>((resolve) => child.once('close', () => resolve(text)));
  const started = new Promise<void>((resolve) => {
    child.stdout?.on('data', (chunk: Buffer) => {
      text += chunk.toString();
      if (text.includes('started')) resolve();
    });
    child.once('close', () => resolve());
  });
  return { child, started, ended };
}

function usePolicy(resources: string): void {
  const { body, errors } = policyFrom({ a: `resources:\n${resources}` });
  expect(errors).toEqual([]);
  writeFileSync(join(folder, 'body.json'), JSON.stringify(body));
}

const names = Array.from({ length: FILES }, (_, index) => `f${index}`);

test('kill -9 in the middle of writing leaves no torn file, and the next run repairs everything', async () => {
  const source = (word: string) =>
    names
      .map((name) => `- name: ${name}\n  type: file\n  target_path: ${join(tree, name)}\n  source: ${join(folder, `${word}-${name}`)}\n`)
      .join('');
  for (const word of ['old', 'new']) for (const name of names) writeFileSync(join(folder, `${word}-${name}`), version(word, name));
  for (const name of names) writeFileSync(join(tree, name), version('old', name));
  const moments: number[] = [];
  for (const [round, killAt] of [0, 3, 8, 15, 30].entries()) {
    const word = round % 2 === 0 ? 'new' : 'old';
    usePolicy(source(word));
    const { child, started, ended } = agent('manual');
    await started;
    // killed as soon as a given file is written, whatever the speed of the machine
    while (child.exitCode === null && !readFileSync(join(tree, names[killAt]!), 'utf8').startsWith(word)) await wait(1);
    child.kill('SIGKILL');
    await ended;
    const contents = names.map((name) => readFileSync(join(tree, name), 'utf8'));
    for (const [index, content] of contents.entries())
      expect([version('old', names[index]!), version('new', names[index]!)].includes(content)).toBe(true);
    moments.push(contents.filter((content) => content.startsWith('new')).length);
  }
  usePolicy(source('new'));
  const last = agent('manual');
  const said = await last.ended;
  expect(said).toContain('"actions"');
  expect(said).not.toContain('error');
  for (const name of names) expect(readFileSync(join(tree, name), 'utf8')).toBe(version('new', name));
  expect(readdirSync(tree).sort()).toEqual([...names].sort());
  expect(readdirSync(join(folder, 'run'))).toEqual([]);
  // at least one kill really hit the middle
  expect(moments.some((count) => count > 0 && count < FILES)).toBe(true);
}, 60_000);

test('a person does not wait for the daemon to finish: it yields before its next resource', async () => {
  const slow = (name: string) => `- name: ${name}\n  type: exec\n  command: sleep 0.5\n  onlyif: "true"\n`;
  usePolicy(Array.from({ length: 60 }, (_, index) => slow(`s${index}`)).join(''));
  const daemon = agent('daemon');
  await daemon.started;
  usePolicy(`- name: quick\n  type: file\n  target_path: ${join(tree, 'quick')}\n  content: x\n`);
  const begin = Date.now();
  const person = agent('manual');
  expect(await person.ended).toContain('{"actions":["created"]}');
  expect(Date.now() - begin).toBeLessThan(15_000);
  const said = JSON.parse((await daemon.ended).split('\n')[1]!) as { partial: string; actions: string[] };
  expect(said.partial).toBe('preempted');
  expect(said.actions.filter((action) => action === 'preempted').length).toBeGreaterThan(10);
}, 60_000);
