/** The runtime without libatomic: the real one of this machine, changed and run. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from '@jest/globals';
import { testUnless } from '../../test/harness/where.ts';
import { bringOwnAtomics } from './own-atomics.ts';

const folder = mkdtempSync(join(tmpdir(), 'vigo-atomics-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const onLinuxX64 = process.platform === 'linux' && process.arch === 'x64';

/** WebAssembly's code pointer table is what takes the compare and exchange. */
const PROGRAM = `
const bytes = new Uint8Array([0,97,115,109,1,0,0,0,1,5,1,96,0,1,127,3,2,1,0,7,5,1,1,102,0,0,10,6,1,4,0,65,42,11]);
let sum = 0;
for (let i = 0; i < 300; i++) sum += new WebAssembly.Instance(new WebAssembly.Module(bytes)).exports.f();
console.log(sum, process.version);
`;

testUnless(onLinuxX64 ? undefined : 'libatomic is replaced on x86-64 Linux alone')('runs WebAssembly and names libatomic no more', () => {
  const bytes = readFileSync(process.execPath);
  const needed = spawnSync(process.execPath, { env: { LD_TRACE_LOADED_OBJECTS: '1' }, encoding: 'utf8' }).stdout.includes('libatomic');
  expect(bringOwnAtomics(bytes)).toBe(needed);
  expect(bringOwnAtomics(bytes)).toBe(false);
  const file = join(folder, 'node');
  writeFileSync(file, bytes, { mode: 0o700 });
  const listed = spawnSync(file, { env: { LD_TRACE_LOADED_OBJECTS: '1' }, encoding: 'utf8' });
  expect(listed.stdout).toContain('libc.so.6');
  expect(listed.stdout).not.toContain('libatomic');
  const ran = spawnSync(file, ['-e', PROGRAM], { encoding: 'utf8' });
  expect(ran.stderr).toBe('');
  expect(ran.stdout.trim()).toBe(`12600 ${process.version}`);
});

test('leaves other files alone', () => {
  expect(bringOwnAtomics(Buffer.alloc(64, 1))).toBe(false);
});
