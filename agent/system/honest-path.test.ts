/** An ordinary account bends the paths that root works on: links in its own folders must not lead root to what is not that account's. */
import {
  chmodSync,
  chownSync,
  existsSync,
  lchownSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeEach, expect } from '@jest/globals';
import { testUnless } from '../../test/harness/where.ts';
import { LocalSystem } from './local-system.ts';

const ALICE = 61_001;
const top = mkdtempSync(join(tmpdir(), 'vigo-bent-'));
chmodSync(top, 0o755);
const system = new LocalSystem({ privateFolder: join(top, 'private') });
afterAll(() => rmSync(top, { recursive: true, force: true }));

let count = 0;
let home = '';
let etc = '';
beforeEach(() => {
  count += 1;
  home = join(top, `home-${count}`);
  etc = join(top, `etc-${count}`);
  mkdirSync(home);
  mkdirSync(etc);
  writeFileSync(join(etc, 'shadow'), 'root:secret', { mode: 0o600 });
  chownSync(home, ALICE, ALICE);
  own(home, 'conf');
});

/** A folder of alice. */
function own(parent: string, name: string): string {
  const path = join(parent, name);
  mkdirSync(path);
  chownSync(path, ALICE, ALICE);
  return path;
}

/** A link as alice makes it. */
function aliceLinks(to: string, path: string): void {
  symlinkSync(to, path);
  lchownSync(path, ALICE, ALICE);
}

// only root can be led astray like this, and only root can make the stage
const asRoot = testUnless(process.getuid?.() === 0 ? undefined : 'links of other accounts can only be tried as root');

asRoot.each<[string, (path: string) => Promise<unknown>]>([
  ['written', (path) => system.writeFile(join(path, 'new'), 'x', {})],
  ['overwritten', (path) => system.writeFile(join(path, 'shadow'), 'x', { owner: String(ALICE) })],
  ['given away', (path) => system.setAttributes(join(path, 'shadow'), { owner: String(ALICE) })],
  ['opened', (path) => system.setAttributes(join(path, 'shadow'), { mode: 0o666 })],
  ['removed', (path) => system.remove(join(path, 'shadow'))],
  ['replaced by a link', (path) => system.makeLink(join(path, 'shadow'), '/dev/null', 'symbolic')],
  ['filled with folders', (path) => system.makeDirectory(join(path, 'deep/er'), {})],
  ['read', (path) => system.readFile(join(path, 'shadow'))],
])('through a link of alice nothing of root is %s', async (_what, work) => {
  for (const [name, to] of [
    ['direct', etc],
    ['relative', `../../etc-${count}`],
    ['chain', 'direct'],
    ['below', `${etc}/.`],
  ] as const) {
    aliceLinks(to, join(home, 'conf', name));
    await expect(work(join(home, 'conf', name))).rejects.toMatchObject({ code: 'BLOCKED' });
  }
  expect(readFileSync(join(etc, 'shadow'), 'utf8')).toBe('root:secret');
  expect([statSync(join(etc, 'shadow')).uid, statSync(join(etc, 'shadow')).mode & 0o777]).toEqual([0, 0o600]);
  expect([existsSync(join(etc, 'new')), existsSync(join(etc, 'deep'))]).toEqual([false, false]);
});

asRoot('a link of alice in the place of a file is not read, nor is one of root that alice moved there', async () => {
  aliceLinks(join(etc, 'shadow'), join(home, 'file'));
  await expect(system.readFile(join(home, 'file'))).rejects.toMatchObject({ code: 'BLOCKED' });
  symlinkSync(join(etc, 'shadow'), join(home, 'moved'));
  await expect(system.readFile(join(home, 'moved'))).rejects.toMatchObject({ code: 'BLOCKED' });
});

asRoot('a second name of a file of root, made in a folder of alice, changes no owner and no mode', async () => {
  linkSync(join(etc, 'shadow'), join(home, 'twin'));
  await expect(system.setAttributes(join(home, 'twin'), { owner: String(ALICE) })).rejects.toMatchObject({ code: 'BLOCKED' });
  await expect(system.setAttributes(join(home, 'twin'), { mode: 0o644 })).rejects.toMatchObject({ code: 'BLOCKED' });
  expect(statSync(join(etc, 'shadow')).uid).toBe(0);
});

asRoot('a folder that is swapped for a link while root works is the folder that was looked at', async () => {
  const conf = join(home, 'conf');
  let done = false;
  const swapping = (async () => {
    // both phases last differently long from turn to turn, so that writer and swapper never walk in step
    const turns = async (count: number) => {
      for (let i = 0; i < count; i++) await new Promise((resolve) => setImmediate(resolve));
    };
    for (let round = 0; !done; round++, await turns(1 + (round % 5))) {
      renameSync(conf, `${conf}.real`);
      symlinkSync(etc, conf);
      await turns(1 + (round % 3));
      rmSync(conf);
      renameSync(`${conf}.real`, conf);
    }
  })();
  let landed = 0;
  for (let i = 0; i < 400 || landed === 0; i++) {
    await system.writeFile(join(conf, `new-${i}`), 'x', { owner: String(ALICE) }).then(
      () => landed++,
      () => undefined, // refused or missing at that moment
    );
  }
  done = true;
  await swapping;
  expect(readdirSync(etc)).toEqual(['shadow']);
  expect(readdirSync(conf).length).toBeGreaterThan(0);
});

asRoot('honest links still lead on: of root anywhere, of alice to what is hers', async () => {
  const mine = own(home, 'mine');
  aliceLinks(mine, join(home, 'conf', 'own'));
  symlinkSync(etc, join(top, `door-${count}`));
  await system.writeFile(join(home, 'conf', 'own', 'a'), 'x', {});
  await system.writeFile(join(top, `door-${count}`, 'b'), 'x', {});
  await system.makeDirectory(join(home, 'conf', 'own', 'deep', 'er'), {});
  expect([readFileSync(join(mine, 'a'), 'utf8'), readFileSync(join(etc, 'b'), 'utf8')]).toEqual(['x', 'x']);
  expect(lstatSync(join(mine, 'deep/er')).isDirectory()).toBe(true);
  writeFileSync(join(mine, 'c'), 'hers');
  chownSync(join(mine, 'c'), ALICE, ALICE);
  aliceLinks(join(mine, 'c'), join(home, 'link'));
  expect((await system.readFile(join(home, 'link')))?.toString()).toBe('hers');
  expect(await system.readFile(join(home, 'conf', 'nothing'))).toBeUndefined();
});
