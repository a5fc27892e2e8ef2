/** Who runs and who waits. */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeEach, expect, jest, test } from '@jest/globals';
import { systemClock } from '../../core/base/clock.ts';
import { RunFiles } from '../state/run-files.ts';
import { runIfFree, runWhenFree } from './lock.ts';
import { yieldsTo } from './preempt.ts';

// real processes: patience for a busy machine
jest.setTimeout(60_000);

const home = mkdtempSync(join(tmpdir(), 'vigo-lock-'));
let folder = home;
let count = 0;
let other: ChildProcess;
beforeEach(() => {
  folder = join(home, String(++count));
  other = spawn('sleep', ['60']);
});
afterEach(() => void other.kill('SIGKILL'));
afterAll(() => rmSync(home, { recursive: true, force: true }));

const signal = new AbortController().signal;
const held = (mode: 'daemon' | 'manual', more: object = {}) => {
  const files = new RunFiles(folder, 'manual');
  writeFileSync(join(folder, 'lock'), JSON.stringify({ pid: other.pid, born: '', mode, at: 0, ...more }));
  return files;
};
const short = { clock: systemClock, signal, waitMs: 300 };

test('the lock is there during the work and gone after it, whatever happens', async () => {
  const files = new RunFiles(folder, 'daemon');
  await runIfFree(files, async () => {
    expect(files.holder()).toMatchObject({ pid: process.pid, mode: 'daemon' });
    expect(await runIfFree(new RunFiles(folder, 'daemon'), () => Promise.resolve(1))).toBeUndefined();
  });
  await expect(runWhenFree(files, short, () => Promise.reject(new Error('x')))).rejects.toThrow('x');
  expect(readdirSync(folder)).toEqual([]);
});

test('a person asks a daemon to yield, but not another person; both give up in the end and take their question back', async () => {
  const busy = held('daemon');
  const waiting = runWhenFree(busy, short, () => Promise.resolve(1));
  expect(existsSync(join(folder, 'preempt'))).toBe(true);
  await expect(waiting).rejects.toMatchObject({ code: 'LOCK_BUSY' });
  expect(readdirSync(folder)).toEqual(['lock']);
  const second = held('manual');
  const quiet = runWhenFree(second, short, () => Promise.resolve(1));
  expect(existsSync(join(folder, 'preempt'))).toBe(false);
  await expect(quiet).rejects.toMatchObject({ code: 'LOCK_BUSY' });
});

test.each([
  ['a dead process', { pid: 999_999_999 }],
  ['a process whose number was used again', { born: '1' }],
])('what %s left is taken away', async (_, more) => {
  expect(await runWhenFree(held('daemon', more), short, () => Promise.resolve('ran'))).toBe('ran');
  expect(readdirSync(folder)).toEqual([]);
});

test('a lock file nobody can read is taken away too', () => {
  const files = new RunFiles(folder, 'manual');
  writeFileSync(join(folder, 'lock'), '{half');
  expect(files.tryLock()).toBe(true);
});

test('only somebody else who lives can ask to yield; the daemon leaves the lock to them', async () => {
  const files = new RunFiles(folder, 'daemon');
  const yields = yieldsTo(files);
  files.askToYield();
  expect(await yields()).toBe(false);
  const ask = (more: object) =>
    writeFileSync(join(folder, 'preempt'), JSON.stringify({ pid: other.pid, born: '', mode: 'manual', at: 0, ...more }));
  ask({ pid: 999_999_999 });
  expect(await yields()).toBe(false);
  expect(existsSync(join(folder, 'preempt'))).toBe(false);
  ask({});
  expect(await runIfFree(files, () => Promise.resolve(1))).toBeUndefined();
  expect(await yields()).toBe(true);
  rmSync(join(folder, 'preempt'));
  expect(await yields()).toBe(true);
});

test('unlocking never takes the lock of somebody else', () => {
  const files = held('daemon');
  files.unlock();
  expect(readFileSync(join(folder, 'lock'), 'utf8')).toContain('daemon');
});
