/** What a server does with its releases before it serves: clean up after a crash, verify, fall back (config.md §11.2). */
import { mkdir, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { CodedError, messageOf } from '../../core/base/errors.ts';
import { SYSTEM } from '../audit/record.ts';
import { rebuiltRow } from './history.ts';
import type { LiveLink } from './live.ts';
import type { LiveRelease } from './live-release.ts';
import type { PublisherParts } from './publisher-parts.ts';
import type { ReleaseLoader } from './release-loader.ts';
import { type ReleaseDirectory, type ReleaseFolder, removeRelease, type StoredRelease } from './releases.ts';
import { removeTree } from './stage.ts';

type StartUpParts = Pick<PublisherParts, 'paths' | 'store' | 'trail' | 'log' | 'event'> & {
  readonly folder: ReleaseFolder;
  readonly link: LiveLink;
  readonly loader: ReleaseLoader;
};

export interface Started {
  readonly release: LiveRelease | undefined;
  /** why the live release could not be loaded */
  readonly error: string | undefined;
}

/** Work directories of publishes that did not end. */
async function removeWork({ paths }: StartUpParts): Promise<void> {
  await mkdir(paths.temp, { recursive: true, mode: 0o750 });
  for (const name of await readdir(paths.temp)) if (name.startsWith('publish-')) await removeTree(join(paths.temp, name));
}

/** Releases that were written but never became live leave nothing behind; their numbers stay used. */
async function removeOrphans(
  parts: StartUpParts,
  directories: readonly ReleaseDirectory[],
  live: string | undefined,
): Promise<ReleaseDirectory[]> {
  const kept: ReleaseDirectory[] = [];
  for (const directory of directories) {
    if (directory.name === live || (await parts.store.releases.byNumber(directory.number)) !== undefined) kept.push(directory);
    else {
      await removeRelease(directory.path);
      parts.log.warn('unfinished release removed', { release: directory.number });
    }
  }
  return kept;
}

/** The crash came between the swap and the history: the row is made from the manifest. */
async function completeHistory(parts: StartUpParts, { manifest }: StoredRelease): Promise<void> {
  const known = await parts.store.releases.byNumber(manifest.number);
  if (known?.result === 'live') return;
  const before = (await parts.store.releases.list(1, manifest.number))[0];
  const directory = before === undefined ? undefined : await parts.folder.byNumber(before.number);
  const files = directory === undefined ? [] : (await parts.folder.open(directory)).manifest.files;
  await parts.store.transaction(async (tx) => {
    if (known === undefined) await tx.releases.add(rebuiltRow(manifest, files));
    await tx.releases.makeLive(manifest.number);
    await parts.trail.record(tx, {
      actor: SYSTEM,
      event: 'config.published',
      target: { kind: 'release', id: String(manifest.number), name: manifest.root.slice(0, 12) },
      outcome: 'ok',
      data: { author: manifest.author, rebuilt: true },
    });
  });
}

async function tryLoad(parts: StartUpParts, directory: ReleaseDirectory): Promise<LiveRelease> {
  return parts.loader.load(await parts.folder.open(directory), true);
}

export async function startUp(parts: StartUpParts): Promise<Started> {
  const { folder, link, log } = parts;
  await removeWork(parts);
  await link.cleanUp();
  const name = await link.read();
  const all = await folder.list();
  await folder.removeUnfinished();
  const directories = await removeOrphans(parts, all, name);
  if (name === undefined) return { release: undefined, error: undefined };
  const live = directories.find((directory) => directory.name === name);
  let error = `the release "${name}" that live points to is missing`;
  if (live !== undefined) {
    try {
      const release = await tryLoad(parts, live);
      await completeHistory(parts, release.stored);
      return { release, error: undefined };
    } catch (thrown) {
      if (!(thrown instanceof CodedError) || thrown.code !== 'RELEASE_INVALID') throw thrown;
      error = messageOf(thrown);
    }
  }
  parts.event?.('config.tampered', { release: name, error });
  log.error('the live release does not verify', { release: name, error });
  for (const directory of directories) {
    if (directory.name === name) continue;
    try {
      const release = await tryLoad(parts, directory);
      log.warn('an older release is served instead', { release: release.number });
      return { release, error };
    } catch (thrown) {
      if (!(thrown instanceof CodedError) || thrown.code !== 'RELEASE_INVALID') throw thrown;
      log.error('an older release does not verify either', { release: directory.number, error: messageOf(thrown) });
    }
  }
  return { release: undefined, error };
}
