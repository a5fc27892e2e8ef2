/** The real machine, in a folder of its own. */
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { afterAll, beforeEach, describe, expect, jest, test } from '@jest/globals';
import { testUnless } from '../../test/harness/where.ts';
import { LocalSystem } from './local-system.ts';

// real processes: patience for a busy machine
jest.setTimeout(60_000);

const home = mkdtempSync(join(tmpdir(), 'vigo-system-'));
const isRoot = process.getuid?.() === 0;
let folder = home;
let count = 0;
const at = (name: string) => join(folder, name);
const system = new LocalSystem({ privateFolder: join(home, 'private') });

beforeEach(() => {
  count += 1;
  folder = join(home, String(count));
  mkdirSync(folder);
});
afterAll(() => rmSync(home, { recursive: true, force: true }));

const gone = async (pid: number) => {
  for (let i = 0; i < 500; i++) {
    try {
      if (readFileSync(`/proc/${pid}/stat`, 'utf8').split(' ')[2] === 'Z') return true;
    } catch {
      return true;
    }
    await wait(20);
  }
  return false;
};

describe('commands', () => {
  test('run without a shell, on a fixed path, with a bare environment', async () => {
    process.env['VIGO_LEAK'] = 'leak';
    const { stdout } = await system.run(['sh', '-c', 'echo "$1"; echo "${VIGO_LEAK-none} $PATH"', 'sh', '$(id) `id` ;*']);
    delete process.env['VIGO_LEAK'];
    expect(stdout).toBe('$(id) `id` ;*\nnone /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n');
  });

  test('another exit code is an error unless it is allowed; a signal counts as a shell counts it', async () => {
    await expect(system.run(['sh', '-c', 'echo why >&2; exit 3'])).rejects.toMatchObject({
      code: 'COMMAND_FAILED',
      message: 'sh ended with 3: why',
    });
    expect((await system.run(['sh', '-c', 'exit 3'], { okCodes: [3] })).code).toBe(3);
    expect((await system.run(['sh', '-c', 'kill -9 $$'], { okCodes: 'any' })).code).toBe(137);
    await expect(system.run(['no-such-command-here'])).rejects.toMatchObject({
      code: 'COMMAND_FAILED',
      message: 'command not found: no-such-command-here',
    });
  });

  test('the whole process group ends with the time limit', async () => {
    const started = Date.now();
    await expect(system.run(['sh', '-c', `sh -c 'echo $$ > ${at('pid')}; sleep 60' & wait`], { timeoutMs: 2_000 })).rejects.toMatchObject({
      code: 'DEADLINE',
    });
    expect(Date.now() - started).toBeLessThan(30_000);
    expect(await gone(Number(readFileSync(at('pid'), 'utf8')))).toBe(true);
  });

  test('an abort ends it, and an aborted signal starts nothing', async () => {
    const controller = new AbortController();
    const running = system.run(['sleep', '60'], { signal: controller.signal });
    setTimeout(() => controller.abort(), 50);
    await expect(running).rejects.toMatchObject({ code: 'DEADLINE' });
    await expect(system.run(['touch', at('x')], { signal: controller.signal })).rejects.toThrow();
    expect(existsSync(at('x'))).toBe(false);
  });

  test('a daemon that keeps the pipes open does not hold the caller', async () => {
    const started = Date.now();
    const { stdout } = await system.run(['sh', '-c', 'echo up; sleep 30 & exit 0']);
    expect(stdout).toBe('up\n');
    expect(Date.now() - started).toBeLessThan(15_000);
  });

  test('input of which a command reads nothing is no error; endless output is cut', async () => {
    expect((await system.run(['true'], { stdin: 'x'.repeat(1_000_000) })).code).toBe(0);
    expect((await system.run(['cat'], { stdin: 'äöü' })).stdout).toBe('äöü');
    const { stdout } = await system.run(['head', '-c', '6000000', '/dev/zero']);
    expect(stdout.length).toBeLessThan(4_300_000);
    expect(stdout).toContain('bytes more]');
  });

  test('started commands outlive the call', async () => {
    await system.start(['sh', '-c', `sleep 0.2; echo done > ${at('done')}`]);
    expect(existsSync(at('done'))).toBe(false);
    for (let i = 0; i < 1_000 && !existsSync(at('done')); i++) await wait(20);
    expect(existsSync(at('done'))).toBe(true);
  });

  testUnless(isRoot ? undefined : 'only root runs commands as another account')(
    'runs as another account, with its groups and its home, and at another priority',
    async () => {
      expect((await system.run(['sh', '-c', 'id -un; echo $HOME'], { user: 'nobody' })).stdout).toMatch(/^nobody\n\/\S*\n$/);
      expect((await system.run(['nice'], { nice: 10 })).stdout).toBe('10\n');
      await expect(system.run(['true'], { user: 'no-such-user-here' })).rejects.toMatchObject({ code: 'BAD_REQUEST' });
    },
  );
});

describe('files', () => {
  test('are written whole, keep what nobody changes, and leave nothing beside them', async () => {
    await system.writeFile(at('a'), 'one', { mode: 0o640 });
    await system.writeFile(at('a'), 'two', {});
    expect(await system.stat(at('a'))).toMatchObject({ kind: 'file', mode: 0o640, size: 3 });
    expect((await system.readFile(at('a')))?.toString()).toBe('two');
    expect(readdirSync(folder)).toEqual(['a']);
  });

  test('what a killed process left beside a file goes with the next write, what a living one writes stays', async () => {
    writeFileSync(at(`.a.vigo-999999999-0123456789ab`), 'half');
    writeFileSync(at(`.a.vigo-1-0123456789ab`), 'at work');
    await system.writeFile(at('a'), 'x', {});
    expect(readdirSync(folder)).toEqual(['.a.vigo-1-0123456789ab', 'a']);
  });

  test('a link at the place is replaced, never written through', async () => {
    writeFileSync(at('real'), 'real');
    symlinkSync(at('real'), at('link'));
    await system.writeFile(at('link'), 'own', { mode: 0o600 });
    expect(readFileSync(at('real'), 'utf8')).toBe('real');
    expect((await system.stat(at('link')))?.kind).toBe('file');
    expect(statSync(at('real')).mode & 0o777).not.toBe(0o600);
  });

  test('permissions of a link never reach its target', async () => {
    writeFileSync(at('real'), 'real', { mode: 0o644 });
    symlinkSync(at('real'), at('link'));
    await system.setAttributes(at('link'), { mode: 0o777 });
    expect(statSync(at('real')).mode & 0o777).toBe(0o644);
  });

  test('a failed write leaves the old file and no other', async () => {
    writeFileSync(at('a'), 'old');
    await expect(system.writeFile(at('a'), 'new', { owner: 'no-such-user-here' })).rejects.toMatchObject({ code: 'BAD_REQUEST' });
    await expect(system.writeFile(at('none/a'), 'new', {})).rejects.toMatchObject({ code: 'ENOENT' });
    await expect(system.writeFile(folder, 'new', {})).rejects.toMatchObject({ code: 'BLOCKED' });
    expect(readFileSync(at('a'), 'utf8')).toBe('old');
    expect(readdirSync(folder)).toEqual(['a']);
  });

  test('folders are made with their parents, links whole, hard links only once', async () => {
    await system.makeDirectory(at('x/y/z'), { mode: 0o700 });
    expect(statSync(at('x/y/z')).mode & 0o777).toBe(0o700);
    expect(statSync(at('x')).mode & 0o777).toBe(0o755);
    await system.makeLink(at('soft'), 'x/y', 'symbolic');
    await system.makeLink(at('soft'), 'x', 'symbolic');
    expect(await system.readLink(at('soft'))).toBe('x');
    await system.writeFile(at('one'), '1', {});
    await system.makeLink(at('two'), at('one'), 'hard');
    await system.makeLink(at('two'), at('one'), 'hard');
    expect((await system.stat(at('two')))?.identity).toBe((await system.stat(at('one')))?.identity);
    expect(await system.list(folder)).toEqual(['one', 'soft', 'two', 'x']);
  });

  test('real paths follow every link as far as the path exists', async () => {
    mkdirSync(at('real'));
    symlinkSync(at('real'), at('link'));
    symlinkSync(at('gone'), at('dangling'));
    const real = await system.realPath(folder);
    expect(await system.realPath(at('link/not/yet'))).toBe(join(real, 'real/not/yet'));
    expect(await system.realPath(at('dangling'))).toBe(join(real, 'gone'));
    expect(await system.realPath(at('x/../link'))).toBe(join(real, 'real'));
  });

  test('removing a link leaves what it points at; nothing there is no error', async () => {
    mkdirSync(at('real/deep'), { recursive: true });
    symlinkSync(at('real'), at('link'));
    await system.remove(at('link'));
    await system.remove(at('nothing'));
    expect(existsSync(at('real/deep'))).toBe(true);
    await system.remove(at('real'));
    expect(readdirSync(folder)).toEqual([]);
  });

  test('the private folder is for root alone and loses what dead processes left', async () => {
    mkdirSync(at('open'));
    await expect(new LocalSystem({ privateFolder: at('open') }).privateFolder()).rejects.toMatchObject({ code: 'BLOCKED' });
    mkdirSync(join(home, 'private/999999999'), { recursive: true, mode: 0o711 });
    const own = await system.privateFolder();
    expect(statSync(own).mode & 0o066).toBe(0);
    expect(readdirSync(join(home, 'private'))).toEqual([String(process.pid)]);
  });

  test('missing things are undefined', async () => {
    expect(await system.stat(at('a'))).toBeUndefined();
    expect(await system.readFile(at('a/b'))).toBeUndefined();
    expect(await system.readLink(folder)).toBeUndefined();
    expect((await system.space(folder)).total).toBeGreaterThan(0);
  });
});
