/** Releases from a hub to its spokes (config.md §11.4, §22 case 88): what travels, what is refused, what a cut or a crash leaves behind. */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, jest, test } from '@jest/globals';
import { type Manifest, rootHash } from '../core/config/manifest.ts';
import { manifestDelta } from '../core/config/manifest-delta.ts';
import { signManifest } from '../server/publish/manifest-signature.ts';
import { eventually } from '../test/harness/eventually.ts';
import { BY_ALICE, dataDirectory, forceWritable, writeStage } from '../test/harness/publishing.ts';
import { type HubEnd, openHub, openSpoke, type SpokeEnd, siteAuthority, type Tap } from '../test/harness/two-sites.ts';

jest.setTimeout(60_000);

const stops: (() => Promise<void>)[] = [];
const made: string[] = [];
afterEach(async () => {
  for (const stop of stops.splice(0).reverse()) await stop();
  for (const directory of made.splice(0)) rmSync(directory, { recursive: true, force: true });
});

function directory(): string {
  const path = dataDirectory();
  made.push(path);
  return path;
}

async function hub(path = directory(), ...more: [Parameters<typeof openHub>[1]?]): Promise<HubEnd> {
  const opened = await openHub(path, ...more);
  stops.push(() => opened.stop());
  return opened;
}

async function spoke(id: string, path = directory(), revoked?: ReadonlySet<string>): Promise<SpokeEnd> {
  const opened = await openSpoke(path, id, {}, revoked);
  stops.push(() => opened.stop());
  return opened;
}

async function ended(end: { stop(): Promise<void> }): Promise<void> {
  stops.splice(0, stops.length, ...stops.filter((each) => each !== end.stop));
  await end.stop();
}

const FILES = {
  'web.vgo': 'match: "web*"\nmodules: [site]\nvars: { port: 80 }\n',
  'modules/site.vgo': 'name: site\nresources:\n  - { name: conf, type: file, target_path: /etc/site, source: templates/site.conf }\n',
  'templates/site.conf': 'port {{ .Vars.port }}\n',
};
const withPort = (port: number) => ({ ...FILES, 'web.vgo': FILES['web.vgo'].replace('80', String(port)) });

async function publish(on: HubEnd, files: Readonly<Record<string, string>>): Promise<number> {
  writeStage(on.directory, files);
  const { release } = await on.publisher.publish(BY_ALICE);
  await on.sync.offerAll();
  return release!.number;
}

const tap = (): Tap => ({ bytes: 0, asked: new Map() });
const serves = (end: SpokeEnd): number | undefined => end.publisher.live?.number;
const bodyOf = (end: HubEnd | SpokeEnd): string => Buffer.from(end.publisher.live!.entryFor('web1')!.body).toString();

describe('a release of the hub', () => {
  test('is served by all spokes, byte for byte, with the signature of the hub', async () => {
    const center = await hub();
    const ends = [await spoke('dc1'), await spoke('eu1')];
    for (const end of ends) await center.link(end);
    await publish(center, FILES);
    for (const end of ends) {
      await end.taker.idle();
      expect(serves(end)).toBe(1);
      expect(bodyOf(end)).toBe(bodyOf(center));
      const [path, own] = [end, center].map(({ directory: at }) =>
        join(at, 'releases', readlinkSync(join(at, 'live')).slice('releases/'.length)),
      );
      for (const file of ['manifest.json', 'manifest.sig', 'tree/web.vgo'])
        expect(readFileSync(join(path!, file), 'utf8')).toBe(readFileSync(join(own!, file), 'utf8'));
      expect(await end.store.releases.byNumber(1)).toMatchObject({ author: 'alice', result: 'live', envoysAffected: 2 });
      expect((await end.store.audit.list({ event: 'config.published' }, 9)).map(({ actor }) => actor)).toEqual(['hub']);
      expect(readdirSync(join(end.directory, 'tmp'))).toEqual([]);
    }
    expect(center.sync.status()).toMatchObject([
      { spoke: 'dc1', serving: { number: 1 }, last: { state: 'loaded', error: null }, lag: 0 },
      { spoke: 'eu1', serving: { number: 1 }, last: { state: 'loaded', error: null }, lag: 0 },
    ]);
    expect(center.sync.status().every(({ servedAfterMs }) => servedAfterMs! >= 0)).toBe(true);
  });

  test('a spoke publishes and rolls back nothing: it names the hub', async () => {
    const end = await spoke('dc1');
    writeStage(end.directory, FILES);
    await expect(end.publisher.publish(BY_ALICE)).rejects.toMatchObject({
      code: 'ASK_HUB',
      message: expect.stringContaining('hub.example.com:1530'),
    });
    await expect(end.publisher.rollback(BY_ALICE)).rejects.toMatchObject({ code: 'ASK_HUB' });
  });

  test('a spoke that was away for two releases gets the newest alone', async () => {
    const center = await hub();
    const end = await spoke('dc1');
    const link = await center.link(end);
    await publish(center, FILES);
    await end.taker.idle();
    link.close('cut');
    for (const port of [81, 82, 83]) await publish(center, withPort(port));
    expect(center.sync.status()).toMatchObject([{ lag: 3 }]);
    await center.link(end);
    await end.taker.idle();
    expect(end.released.map(({ number }) => number)).toEqual([1, 4]);
    expect((await end.store.releases.list(9)).map(({ number, result }) => [number, result])).toEqual([
      [4, 'live'],
      [1, 'superseded'],
    ]);
    expect(center.sync.status()).toMatchObject([{ lag: 0 }]);
  });

  test('it starts from its own disk with the signature of the hub, and a damaged release is fetched again', async () => {
    const center = await hub();
    const path = directory();
    const first = await spoke('dc1', path);
    await center.link(first);
    for (const port of [80, 81]) {
      await publish(center, withPort(port));
      await first.taker.idle();
    }
    await ended(first);
    const again = await spoke('dc1', path);
    expect([serves(again), again.publisher.lastError]).toEqual([2, undefined]);
    await ended(again);
    const release = join(path, 'releases', readlinkSync(join(path, 'live')).slice('releases/'.length));
    forceWritable(release);
    writeFileSync(join(release, 'tree/web.vgo'), 'match: "*"');
    const damaged = await spoke('dc1', path);
    expect([serves(damaged), damaged.events]).toEqual([1, ['config.tampered']]);
    await center.link(damaged);
    await damaged.taker.idle();
    expect([serves(damaged), damaged.publisher.lastError]).toEqual([2, undefined]);
    expect(bodyOf(damaged)).toBe(bodyOf(center));
  });

  test('of a thousand files with one changed only that one travels', async () => {
    const many = Object.fromEntries(Array.from({ length: 1000 }, (_, i) => [`templates/t${i}.conf`, `file ${i}\n`.repeat(40)]));
    const center = await hub();
    const end = await spoke('dc1');
    const seen = tap();
    await center.link(end, seen);
    await publish(center, { ...FILES, ...many });
    await end.taker.idle();
    expect(serves(end)).toBe(1);
    // several small files a time
    expect(seen.asked.get('release.fetch')).toBeLessThan(10);
    const [before, asked] = [seen.bytes, seen.asked.get('release.fetch')!];
    const changed = `changed ${'x'.repeat(500)}`;
    await publish(center, { ...FILES, ...many, 'templates/t500.conf': changed });
    await end.taker.idle();
    expect(serves(end)).toBe(2);
    expect(seen.asked.get('release.fetch')! - asked).toBe(1);
    expect(seen.bytes - before).toBeLessThan(changed.length + 6000);
  });

  test('content that any local release holds is not fetched, wherever it lay', async () => {
    const center = await hub();
    const end = await spoke('dc1');
    const seen = tap();
    await center.link(end, seen);
    await publish(center, FILES);
    await publish(center, withPort(81));
    await end.taker.idle();
    const asked = seen.asked.get('release.fetch')!;
    const { 'templates/site.conf': moved, ...rest } = FILES;
    await publish(center, {
      ...rest,
      'templates/new/place.conf': moved,
      'modules/site.vgo': `${FILES['modules/site.vgo']}# moved\n`,
      'templates/site.conf': moved,
    });
    await end.taker.idle();
    expect(seen.asked.get('release.fetch')! - asked).toBe(1);
    expect(serves(end)).toBe(3);
  });
});

describe('a spoke refuses', () => {
  /** Offers a hand-made release as a hub would; `spoil` changes what is signed. */
  async function offered(
    end: SpokeEnd,
    manifest: Manifest,
    contents: ReadonlyMap<string, Uint8Array>,
    authority = siteAuthority('hub'),
  ): Promise<number> {
    let fetched = 0;
    const source = {
      manifest: async () => manifestDelta(undefined, manifest),
      fetch: async (parts: readonly { sha256: string; offset: number; length: number }[]) => {
        fetched++;
        return Buffer.concat(parts.map(({ sha256, offset, length }) => contents.get(sha256)!.subarray(offset, offset + length)));
      },
    };
    const { epoch, number, root } = manifest;
    const offer = { epoch, number, root, signature: signManifest(authority, manifest), manifest: null };
    try {
      await end.receiver.receive(offer, source, new AbortController().signal);
    } catch (thrown) {
      throw Object.assign(thrown as Error, { fetched });
    }
    return fetched;
  }

  function release(
    files: Readonly<Record<string, string>>,
    more: Partial<Manifest> = {},
  ): { manifest: Manifest; contents: Map<string, Uint8Array> } {
    const contents = new Map<string, Uint8Array>();
    const rows = Object.entries(files).map(([path, text]) => {
      const sha256 = createHash('sha256').update(text).digest('hex');
      contents.set(sha256, Buffer.from(text));
      return { path, mode: '0644' as const, size: Buffer.byteLength(text), sha256 };
    });
    const manifest: Manifest = {
      number: 1,
      version: '20260101T000000Z',
      fleet_id: siteAuthority('hub').fleetId,
      epoch: 1,
      author: 'alice',
      approver: null,
      message: '',
      created_at: '2026-01-01T00:00:00.000Z',
      parent: null,
      rollback_of: null,
      dangerous: false,
      break_glass: false,
      root: rootHash(rows),
      files: rows,
      ...more,
    };
    return { manifest, contents };
  }

  test('a good release by hand is taken, so that the others are refused for what they are', async () => {
    const end = await spoke('dc1');
    const { manifest, contents } = release({ 'modules/m.vgo': 'name: m\nresources: []\n', 'web.vgo': 'match: "*"\nmodules: [m]\n' });
    expect(await offered(end, manifest, contents)).toBe(1);
    expect(serves(end)).toBe(1);
  });

  const deep = `${Array.from({ length: 33 }, () => 'd').join('/')}/x.vgo`;
  const paths: [string, Record<string, string>, string][] = [
    ['a path above the tree', { '../../etc/cron.d/x.vgo': 'x' }, 'does not lie inside the tree'],
    ['a path that climbs on its way', { 'a/../../b.vgo': 'x' }, 'does not lie inside the tree'],
    ['an absolute path', { '/etc/x.vgo': 'x' }, 'does not lie inside the tree'],
    ['an empty name', { 'a//b.vgo': 'x' }, 'does not lie inside the tree'],
    ['a NUL', { 'a\u0000.vgo': 'x' }, 'forbidden character'],
    ['a backslash', { 'a\\..\\b.vgo': 'x' }, 'forbidden character'],
    ['a name in another normal form', { 'e\u0301.vgo': 'x' }, 'not in NFC'],
    ['a file that no tree holds', { 'run.sh': 'x' }, 'does not belong'],
    ['a hidden file', { '.git/config.vgo': 'x' }, 'does not belong'],
    ['a file below a file', { 'a.vgo': 'x', 'a.vgo/b.vgo': 'y' }, 'a file and a directory'],
    ['a tree too deep', { [deep]: 'x' }, 'deeper than 32'],
  ];
  test.each(paths)('%s, before anything is fetched', async (_name, files, reason) => {
    const end = await spoke('dc1');
    const { manifest, contents } = release(files);
    const thrown = await offered(end, manifest, contents).catch((error: Error & { fetched?: number; code?: string }) => error);
    expect(thrown).toMatchObject({ code: 'RELEASE_INVALID', fetched: 0, message: expect.stringContaining(reason) });
    expect(existsSync(join(end.directory, '..', 'etc'))).toBe(false);
    expect(readdirSync(join(end.directory, 'releases'))).toEqual([]);
  });

  test('sizes above the limits, before anything is fetched', async () => {
    const end = await spoke('dc1');
    for (const [name, size, reason] of [
      ['a.vgo', 1024 ** 2 + 1, 'the limit is'],
      ['templates/a', 4 * 1024 ** 2 + 1, 'the limit is'],
    ] as const) {
      const { manifest, contents } = release({ [name]: 'x' });
      manifest.files[0]!.size = size;
      manifest.root = rootHash(manifest.files);
      await expect(offered(end, manifest, contents)).rejects.toMatchObject({
        code: 'RELEASE_INVALID',
        fetched: 0,
        message: expect.stringContaining(reason),
      });
    }
    const many = release(Object.fromEntries(Array.from({ length: 70 }, (_, i) => [`templates/${String(i).padStart(3, '0')}`, `${i}`])));
    for (const file of many.manifest.files) file.size = 4 * 1024 ** 2;
    many.manifest.root = rootHash(many.manifest.files);
    await expect(offered(end, many.manifest, many.contents)).rejects.toMatchObject({
      fetched: 0,
      message: expect.stringContaining('the tree is larger'),
    });
  });

  test('what another key signed: a spoke, a key of another fleet, a revoked hub, a manifest changed after it was signed', async () => {
    const end = await spoke('dc1');
    const { manifest, contents } = release({ 'web.vgo': 'match: "*"\nmodules: []\n' });
    await expect(offered(end, manifest, contents, siteAuthority('eu1'))).rejects.toMatchObject({ code: 'RELEASE_INVALID', fetched: 0 });
    const stranger = siteAuthority('hub', siteAuthority('xx').serverKey);
    await expect(offered(end, manifest, contents, stranger)).rejects.toMatchObject({ code: 'RELEASE_INVALID', fetched: 0 });
    const wary = await spoke('eu1', directory(), new Set(['hub-1']));
    await expect(offered(wary, manifest, contents)).rejects.toMatchObject({ code: 'RELEASE_INVALID', fetched: 0 });
    const signature = signManifest(siteAuthority('hub'), manifest);
    const source = {
      manifest: async () => manifestDelta(undefined, { ...manifest, dangerous: true }),
      fetch: async () => new Uint8Array(),
    };
    await expect(
      end.receiver.receive({ ...manifest, signature, manifest: null }, source, new AbortController().signal),
    ).rejects.toMatchObject({
      code: 'RELEASE_INVALID',
      message: expect.stringContaining('signature'),
    });
    expect(serves(end)).toBeUndefined();
  });

  test('case 88: the same number with another root is refused, alarmed and reported; the old release stays', async () => {
    const [one, other] = [await hub(), await hub()];
    const end = await spoke('dc1');
    const link = await one.link(end);
    await publish(one, FILES);
    await end.taker.idle();
    link.close('cut');
    await publish(other, withPort(99));
    await other.link(end);
    await end.taker.idle();
    expect([serves(end), bodyOf(end)]).toEqual([1, bodyOf(one)]);
    expect(end.events).toContain('spoke.release_refused');
    expect(other.sync.status()).toMatchObject([
      { spoke: 'dc1', last: { state: 'refused', number: 1, error: expect.stringContaining('has the root') } },
    ]);
    // the hub gives out no number that the spoke has seen
    expect(await publish(other, withPort(98))).toBe(2);
    await end.taker.idle();
    expect(bodyOf(end)).toBe(bodyOf(other));
  });

  test('case 88: contents with a flipped byte, and contents that the hub does not have', async () => {
    const center = await hub();
    const end = await spoke('dc1');
    const seen = tap();
    await center.link(end, seen);
    await publish(center, FILES);
    await end.taker.idle();
    seen.onReply = (kind, reply) => {
      if (kind !== 'release.fetch') return reply;
      const data = Buffer.from(reply.data!);
      data[0]! ^= 1;
      return { ...reply, data };
    };
    await publish(center, withPort(81));
    await end.taker.idle();
    expect([serves(end), end.events.filter((event) => event === 'spoke.release_refused')]).toEqual([1, ['spoke.release_refused']]);
    await eventually(() =>
      expect(center.sync.status()).toMatchObject([{ lag: 1, last: { state: 'refused', error: expect.stringContaining('other bytes') } }]),
    );
    seen.onReply = (kind, reply) => (kind === 'release.fetch' ? { ...reply, data: Buffer.alloc(0) } : reply);
    await publish(center, withPort(82));
    await end.taker.idle();
    expect(serves(end)).toBe(1);
    seen.onReply = undefined;
    await publish(center, withPort(83));
    await end.taker.idle();
    expect([serves(end), bodyOf(end)]).toEqual([4, bodyOf(center)]);
  });

  test('a release with a secret that it cannot resolve, until somebody sets it', async () => {
    const center = await hub();
    const end = await spoke('dc1');
    center.secrets.values.set('a/b', { value: Buffer.from('x'), version: '1' });
    await center.link(end);
    await publish(center, FILES);
    await end.taker.idle();
    const withSecret = { ...FILES, 'templates/site.conf': 'pw secret:a/b\n' };
    await publish(center, withSecret);
    await eventually(() =>
      expect(center.sync.status()).toMatchObject([{ lag: 1, last: { state: 'refused', error: expect.stringContaining('a/b') } }]),
    );
    expect(serves(end)).toBe(1);
    end.secrets.values.set('a/b', { value: Buffer.from('x'), version: '1' });
    await end.taker.idle();
    expect(serves(end)).toBe(2);
    expect(center.sync.status()).toMatchObject([{ lag: 0, last: { state: 'loaded' } }]);
  });
});

describe('a cut', () => {
  test('in the middle of a big file goes on where it ended', async () => {
    const center = await hub();
    const end = await spoke('dc1');
    const big = Buffer.alloc(2 * 1024 ** 2, 'vigo ').toString();
    const seen = tap();
    let pieces = 0;
    const link = await center.link(end, seen);
    seen.onReply = (kind, reply) => {
      if (kind === 'release.fetch' && ++pieces === 5) link.close('cut');
      return reply;
    };
    await publish(center, { ...FILES, 'templates/big': big });
    await end.taker.idle();
    expect(serves(end)).toBeUndefined();
    const second = tap();
    await center.link(end, second);
    await end.taker.idle();
    expect(serves(end)).toBe(1);
    expect(second.asked.get('release.fetch')! + pieces).toBeLessThanOrEqual(8 + 2 + 1);
    expect(readFileSync(join(end.directory, 'live', 'tree/templates/big'), 'utf8') === big).toBe(true);
  });

  test('at every message of the way leaves the old release or the new one, and the next link brings the new one', async () => {
    const center = await hub();
    await publish(center, FILES);
    const end = await spoke('dc1');
    await center.link(end);
    await end.taker.idle();
    for (let at = 1; at <= 4; at++) {
      const seen = tap();
      end.hub?.close('cut');
      const link = await center.link(end, seen);
      let messages = 0;
      seen.onReply = (_kind, reply) => {
        if (++messages === at) link.close('cut');
        return reply;
      };
      const number = await publish(center, { ...withPort(80 + at), 'templates/big': Buffer.alloc(600_000, `${at}`).toString() });
      await end.taker.idle();
      expect([number - 1, number]).toContain(serves(end));
      await center.link(end);
      await end.taker.idle();
      expect([serves(end), bodyOf(end)]).toEqual([number, bodyOf(center)]);
    }
  });

  test('leftovers that were damaged meanwhile are fetched again', async () => {
    const center = await hub();
    const end = await spoke('dc1');
    const big = Buffer.alloc(600_000, 'v').toString();
    writeStage(center.directory, { ...FILES, 'templates/big': big });
    const { root } = await center.publisher.publish(BY_ALICE);
    const work = join(end.directory, 'tmp', `receive-${root.slice(0, 16)}`);
    mkdirSync(work, { recursive: true });
    writeFileSync(join(work, `${createHash('sha256').update(big).digest('hex')}.part`), 'not the beginning of that file');
    await center.link(end);
    await end.taker.idle();
    expect(serves(end)).toBe(1);
  });
});

describe('killed with -9', () => {
  const worker = new URL('../test/harness/receive-and-die.ts', import.meta.url).pathname;

  test.each(['fetched', 'written', 'loaded', 'swapped', 'announced', 'recorded'])(
    'after "%s" the spoke starts with the old or the new release and ends with the new one',
    async (step) => {
      const [hubAt, spokeAt] = [directory(), directory()];
      const center = await hub(hubAt);
      const first = await spoke('dc1', spokeAt);
      await center.link(first);
      await publish(center, FILES);
      await first.taker.idle();
      await ended(first);
      const child = spawnSync(process.execPath, ['--disable-warning=ExperimentalWarning', worker, spokeAt, step], { encoding: 'utf8' });
      expect([child.signal, child.stdout, child.stderr]).toEqual(['SIGKILL', '', '']);
      const again = await spoke('dc1', spokeAt);
      const swapped = ['swapped', 'announced', 'recorded'].includes(step);
      expect(serves(again)).toBe(swapped ? 2 : 1);
      expect(readdirSync(join(spokeAt, 'releases'))).toHaveLength(swapped ? 2 : 1);
      expect((await again.store.releases.list(9)).map(({ number }) => number)).toEqual(swapped ? [2, 1] : [1]);
      for (const port of [81, 82]) await publish(center, withPort(port));
      await center.link(again);
      await again.taker.idle();
      expect([serves(again), bodyOf(again)]).toEqual([3, bodyOf(center)]);
    },
  );
});
