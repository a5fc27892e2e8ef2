/** What publishing survives: tampering, kill -9 between any two steps, a full disk (config.md §11.2, §22 case 62). */
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, readlinkSync, rmSync, symlinkSync, unlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, jest, test } from '@jest/globals';
import { BY_ALICE, dataDirectory, forceWritable, openPublishing, type Publishing, writeStage } from '../../test/harness/publishing.ts';
import { smallDisk } from '../../test/harness/small-disk.ts';
import { testUnless } from '../../test/harness/where.ts';
import { PUBLISH_STEPS, type PublisherParts } from './publisher-parts.ts';

jest.setTimeout(30_000);

const opened: Publishing[] = [];
const made: string[] = [];
afterEach(async () => {
  for (const each of opened.splice(0)) await each.stop();
  for (const directory of made.splice(0)) rmSync(directory, { recursive: true, force: true });
});

function newDirectory(): string {
  const directory = dataDirectory();
  made.push(directory);
  return directory;
}

async function start(directory: string, more: Partial<PublisherParts> & { hosts?: readonly string[] } = {}): Promise<Publishing> {
  const publishing = await openPublishing(directory, more);
  opened.push(publishing);
  await publishing.publisher.start();
  return publishing;
}

async function stop(publishing: Publishing): Promise<void> {
  opened.splice(opened.indexOf(publishing), 1);
  await publishing.stop();
}

const FILES = {
  'web.vgo': 'match: "web*"\nmodules: [site]\nvars: { port: 80 }\n',
  'modules/site.vgo': 'name: site\nresources:\n  - { name: conf, type: file, target_path: /etc/site, source: templates/site.conf }\n',
  'templates/site.conf': 'port {{ .Vars.port }}\n',
};
const withPort = (port: number) => ({ ...FILES, 'web.vgo': FILES['web.vgo'].replace('80', String(port)) });

function liveName(directory: string): string | undefined {
  return existsSync(join(directory, 'live')) ? readlinkSync(join(directory, 'live')).slice('releases/'.length) : undefined;
}

describe('start', () => {
  const prepared = async (): Promise<string> => {
    const directory = newDirectory();
    const publishing = await start(directory);
    for (const port of [80, 81]) {
      writeStage(directory, withPort(port));
      await publishing.publisher.publish(BY_ALICE);
    }
    await stop(publishing);
    return directory;
  };

  test('loads what is live with the same bodies', async () => {
    const directory = await prepared();
    const { publisher, released } = await start(directory);
    expect(publisher.live?.number).toBe(2);
    expect(released).toHaveLength(1);
    expect(publisher.lastError).toBeUndefined();
    const body = Buffer.from(publisher.live!.entryFor('web1')!.body);
    await publisher.stop();
    const again = await start(directory);
    expect(Buffer.from(again.publisher.live!.entryFor('web1')!.body).equals(body)).toBe(true);
  });

  const damage: [string, (path: string) => void][] = [
    ['a changed byte', (path) => writeFileSync(join(path, 'tree/web.vgo'), 'match: "*"')],
    ['a file more', (path) => writeFileSync(join(path, 'tree/more.vgo'), 'match: "*"')],
    ['a file less', (path) => unlinkSync(join(path, 'tree/web.vgo'))],
    [
      'a changed manifest',
      (path) =>
        writeFileSync(join(path, 'manifest.json'), readFileSync(join(path, 'manifest.json'), 'utf8').replace('"alice"', '"mallory"')),
    ],
    ['no signature', (path) => unlinkSync(join(path, 'manifest.sig'))],
    ['a link in the tree', (path) => symlinkSync('/etc/passwd', join(path, 'tree/x.vgo'))],
  ];
  test.each(damage)('%s makes it fall back to the release before', async (_name, spoil) => {
    const directory = await prepared();
    const path = join(directory, 'releases', liveName(directory)!);
    forceWritable(path);
    spoil(path);
    const { publisher, events } = await start(directory);
    expect(publisher.live?.number).toBe(1);
    expect(publisher.lastError).toBeDefined();
    expect(events).toContain('config.tampered');
    writeStage(directory, withPort(83));
    expect((await publisher.publish(BY_ALICE)).release?.number).toBe(3);
    expect(publisher.lastError).toBeUndefined();
  });

  test('when nothing verifies, nothing is served', async () => {
    const directory = await prepared();
    for (const name of readdirSync(join(directory, 'releases'))) {
      forceWritable(join(directory, 'releases', name));
      unlinkSync(join(directory, 'releases', name, 'manifest.sig'));
    }
    const { publisher, released } = await start(directory);
    expect([publisher.live, released.length]).toEqual([undefined, 0]);
  });
});

describe('killed with -9', () => {
  const worker = new URL('../../test/harness/publish-and-die.ts', import.meta.url).pathname;

  test.each(PUBLISH_STEPS)(
    'after "%s"',
    async (step) => {
      const directory = newDirectory();
      writeStage(directory, FILES);
      const first = await start(directory);
      first.secrets.values.set('a/b', { value: Buffer.from('x'), version: '1' });
      await first.publisher.publish(BY_ALICE);
      await stop(first);
      writeStage(directory, withPort(81));
      const child = spawnSync(process.execPath, ['--disable-warning=ExperimentalWarning', worker, directory, step], { encoding: 'utf8' });
      expect([child.signal, child.stdout, child.stderr]).toEqual(['SIGKILL', '', '']);
      const { publisher, store } = await start(directory);
      const swapped = ['swapped', 'announced', 'recorded'].includes(step);
      const port = swapped ? 81 : 80;
      expect(publisher.live?.number).toBe(swapped ? 2 : 1);
      expect(JSON.parse(Buffer.from(publisher.live!.entryFor('web1')!.body).toString())).toMatchObject({ vars: { port } });
      expect(readdirSync(join(directory, 'releases'))).toHaveLength(swapped ? 2 : 1);
      expect(readdirSync(join(directory, 'tmp'))).toEqual([]);
      expect(existsSync(join(directory, 'live.new'))).toBe(false);
      expect((await store.releases.list(10)).map(({ number, result, author }) => [number, result, author])).toEqual(
        swapped
          ? [
              [2, 'live', 'alice'],
              [1, 'superseded', 'alice'],
            ]
          : [[1, 'live', 'alice']],
      );
      writeStage(directory, withPort(82));
      const next = (await publisher.publish(BY_ALICE)).release!.number;
      expect(next).toBe(['copied', 'validated', 'compared'].includes(step) ? 2 : 3);
    },
    60_000,
  );
});

/** Why no small file system can be had here, if none can. */
function noSmallDisk(): string | undefined {
  const disk = smallDisk(1);
  if ('reason' in disk) return disk.reason;
  disk.remove();
  return undefined;
}

describe('a full disk', () => {
  testUnless(noSmallDisk())('leaves the live release alone and the rest clean', async () => {
    const directory = newDirectory();
    const small = join(directory, 'releases');
    mkdirSync(small);
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=128k', 'tmpfs', small]);
    try {
      writeStage(directory, FILES);
      const { publisher, store } = await start(directory);
      await publisher.publish(BY_ALICE);
      const big = Object.fromEntries(Array.from({ length: 20 }, (_, i) => [`templates/big${i}`, `${i}`.repeat(10_000)]));
      writeStage(directory, { ...withPort(81), ...big });
      await expect(publisher.publish(BY_ALICE)).rejects.toMatchObject({ code: 'STORE_FULL' });
      expect([publisher.live?.number, readdirSync(small), (await store.releases.list(10)).length]).toEqual([1, [liveName(directory)], 1]);
      writeStage(directory, withPort(81));
      expect((await publisher.publish(BY_ALICE)).release?.number).toBe(3);
    } finally {
      execFileSync('umount', ['-l', small]);
    }
  });
});
