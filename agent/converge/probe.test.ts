/** Live questions, asked of this machine and of one in memory. */

import { mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { FakeSystem } from '../../test/fakes/fake-system.ts';
import { LocalSystem } from '../system/local-system.ts';
import { openMachine } from '../system/machine.ts';
import { localTime, machineProbe } from './probe.ts';

const probe = machineProbe(await openMachine(new LocalSystem()));

test('ports, processes, commands and files of this machine', async () => {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  expect(await probe.portListening(port)).toBe(true);
  await new Promise((resolve) => server.close(resolve));
  expect(await probe.portListening(port)).toBe(false);
  expect(await probe.processRunning('node')).toBe(true);
  expect(await probe.processRunning('nod')).toBe(false);
  expect(await probe.hasCommand('sh')).toBe(true);
  expect(await probe.hasCommand('no-such-command-here')).toBe(false);
  const folder = mkdtempSync(join(tmpdir(), 'vigo-probe-'));
  symlinkSync('/etc/passwd', join(folder, 'link'));
  expect([await probe.fileKind(join(folder, 'link')), await probe.fileKind(folder), await probe.fileKind(join(folder, 'none'))]).toEqual([
    'file',
    'directory',
    undefined,
  ]);
  expect(await probe.fileKind('/dev/null')).toBe('other');
  rmSync(folder, { recursive: true });
});

test('a command that hangs is no answer', async () => {
  const system = new FakeSystem({ run: [{ argv: ['/bin/sh', '-c', 'sleep 60'], timeout: true }] });
  await expect(machineProbe(await openMachine(system)).commandSucceeds('sleep 60')).rejects.toMatchObject({
    code: 'DEADLINE',
    message: expect.stringContaining('10000 ms'),
  });
});

test('a machine without backends cannot answer for packages and services', async () => {
  const bare = machineProbe(await openMachine(new FakeSystem()));
  await expect(bare.hasPackage('x')).rejects.toMatchObject({ code: 'UNSUPPORTED' });
  await expect(bare.serviceRunning('x')).rejects.toMatchObject({ code: 'UNSUPPORTED' });
});

test('the last day of a month is told', () => {
  expect(localTime(new Date(2028, 1, 29, 23, 59).getTime())).toEqual({ hour: 23, minute: 59, weekday: 2, day: 29, daysInMonth: 29 });
});
