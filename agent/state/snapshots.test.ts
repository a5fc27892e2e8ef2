/** What is kept, what is not, and why. */
import { expect, test } from '@jest/globals';
import { FakeSystem } from '../../test/fakes/fake-system.ts';
import { SnapshotStore } from './snapshots.ts';

const ORIGIN = { run: 'r', module: 'm', resource: 'x', action: 'updated', sensitive: false } as const;

function make(files: ConstructorParameters<typeof FakeSystem>[0], retention = 5) {
  const system = new FakeSystem(files);
  return { system, store: new SnapshotStore(system, { folder: '/var/lib/vigo/snapshots', retention }) };
}

test('content and permissions are kept; the same again is not kept twice', async () => {
  const { system, store } = make({ files: { '/etc/a': { content: 'one', mode: 0o600, owner: 'www-data' } } });
  await store.keep('/etc/a', ORIGIN);
  await store.keep('/etc/a', ORIGIN);
  expect(await store.list()).toHaveLength(1);
  await system.setAttributes('/etc/a', { mode: 0o644 });
  await store.keep('/etc/a', ORIGIN);
  expect((await store.list('/etc/a')).map(({ n, mode }) => [n, mode])).toEqual([
    [1, 0o644],
    [2, 0o600],
  ]);
  await system.remove('/etc/a');
  await store.restore('/etc/a', 2, 'r2');
  expect(await system.stat('/etc/a')).toMatchObject({ mode: 0o600, owner: 'www-data' });
  expect((await system.stat('/var/lib/vigo/snapshots'))?.mode).toBe(0o700);
});

test.each([
  ['too large', { '/etc/a': { content: 'x'.repeat(10 * 1024 * 1024 + 1) } }, {}, 'too_large'],
  ['no regular file', { '/etc/a': { to: '/etc/b' } }, {}, 'not_regular'],
  ['sensitive', { '/etc/a': { content: 'x' } }, { sensitive: true }, 'sensitive'],
])('what is %s leaves a row with the reason and no content', async (_, files, more, reason) => {
  const { system, store } = make({ files });
  await store.keep('/etc/a', { ...ORIGIN, ...more });
  expect((await store.list()).map((one) => [one.reason, one.sha256])).toEqual([[reason, undefined]]);
  expect(await system.list('/var/lib/vigo/snapshots/blobs')).toEqual([]);
});

test('a nearly full disk keeps its room', async () => {
  const { system, store } = make({ files: { '/etc/a': 'x' } });
  system.space = async () => ({ free: 4, used: 96, total: 100 });
  await store.keep('/etc/a', ORIGIN);
  expect((await store.list())[0]?.reason).toBe('disk_full');
});

test('the newest are kept, and content nobody names any more goes', async () => {
  const { system, store } = make({}, 2);
  for (const content of ['1', '2', '3', '4']) {
    system.put({ '/etc/a': content });
    await store.keep('/etc/a', ORIGIN);
  }
  expect((await store.read('/etc/a', 1)).data.toString()).toBe('4');
  expect((await store.read('/etc/a', 2)).data.toString()).toBe('3');
  expect(await system.list('/var/lib/vigo/snapshots/blobs')).toHaveLength(2);
});

test('damage is told, not restored', async () => {
  const { system, store } = make({ files: { '/etc/a': 'x' } });
  await store.keep('/etc/a', ORIGIN);
  const [entry] = await store.list();
  system.put({ [`/var/lib/vigo/snapshots/blobs/${entry?.sha256}`]: 'changed' });
  await expect(store.restore('/etc/a', 1, 'r')).rejects.toMatchObject({ code: 'STATE_DAMAGED' });
});
