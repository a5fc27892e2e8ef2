import { existsSync, lstatSync, readdirSync, readFileSync, readlinkSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, jest, test } from '@jest/globals';
import { CodedError } from '../../core/base/errors.ts';
import { signingKeyFromSeed } from '../../core/crypto/ed25519.ts';
import {
  BY_ALICE,
  dataDirectory,
  forceWritable,
  openPublishing,
  type Publishing,
  testAuthority,
  writeStage,
} from '../../test/harness/publishing.ts';
import { createConfigPort } from './config-port.ts';
import { openManifest } from './manifest-signature.ts';
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

describe('a publish', () => {
  test('writes an immutable, signed release, announces it and records it', async () => {
    const directory = newDirectory();
    writeStage(directory, FILES);
    writeFileSync(join(directory, 'stacks', 'notes.vgo.example'), 'not published');
    const steps: string[] = [];
    const { publisher, released, store, events } = await start(directory, { onStep: (step) => void steps.push(step) });
    const outcome = await publisher.publish({ ...BY_ALICE, message: 'first' });
    expect(outcome).toMatchObject({ status: 'live', findings: [], impact: { envoys: 2, entries: 1, unmatched: [] } });
    expect(steps).toEqual([...PUBLISH_STEPS]);
    const name = liveName(directory)!;
    expect(name).toBe(`000001-${outcome.root.slice(0, 12)}`);
    const path = join(directory, 'releases', name);
    expect(statSync(path).mode & 0o777).toBe(0o550);
    expect(statSync(join(path, 'tree/templates')).mode & 0o777).toBe(0o550);
    expect(statSync(join(path, 'tree/web.vgo')).mode & 0o777).toBe(0o440);
    expect(readFileSync(join(path, 'tree/web.vgo'), 'utf8')).toBe(FILES['web.vgo']);
    const texts = [readFileSync(join(path, 'manifest.json'), 'utf8'), readFileSync(join(path, 'manifest.sig'), 'utf8')] as const;
    const manifest = openManifest(testAuthority(), ...texts);
    expect(manifest).toMatchObject({ number: 1, author: 'alice', message: 'first', parent: null, rollback_of: null, root: outcome.root });
    expect(manifest.files.map((file) => file.path)).toEqual(['modules/site.vgo', 'templates/site.conf', 'web.vgo']);
    expect(() => openManifest(testAuthority(), texts[0].replace('"first"', '"other"'), texts[1])).toThrow('wrong signature');
    expect(() => openManifest(testAuthority(signingKeyFromSeed(Buffer.alloc(32, 9))), ...texts)).toThrow('must not sign');
    expect(released.map(({ number }) => number)).toEqual([1]);
    expect(released[0]!.entryFor('WEB7.')).toMatchObject({ entry: 'web.vgo#0', moduleCount: 1, secretsEpoch: 0 });
    expect(released[0]!.entryFor('db1')).toBeUndefined();
    const body = JSON.parse(Buffer.from(released[0]!.entryFor('web1')!.body).toString()) as Record<string, unknown>;
    expect(body).toMatchObject({ release: 1, version: manifest.version, templates: { 'templates/site.conf': 'port {{ .Vars.port }}\n' } });
    expect(await store.releases.byNumber(1)).toMatchObject({
      result: 'live',
      envoysAffected: 2,
      files: { added: 3, changed: 0, removed: 0 },
    });
    expect((await store.audit.list({ event: 'config.published' }, 10)).map(({ actor, target }) => [actor, target])).toEqual([
      ['alice', '1'],
    ]);
    expect(events).toEqual(['config.published']);
    expect(readdirSync(join(directory, 'tmp'))).toEqual([]);
  });

  test('the same tree twice is nothing; a changed one shares the files that are equal', async () => {
    const directory = newDirectory();
    writeStage(directory, FILES);
    const { publisher, store } = await start(directory);
    await publisher.publish(BY_ALICE);
    expect((await publisher.publish(BY_ALICE)).status).toBe('nothing');
    writeStage(directory, withPort(81));
    const second = await publisher.publish(BY_ALICE);
    expect(second).toMatchObject({
      status: 'live',
      files: { added: [], changed: ['web.vgo'], removed: [] },
      impact: { envoys: 2, lines: ['web*: 2 envoys: variables ~port'] },
    });
    expect(second.release?.number).toBe(2);
    const inode = (file: string) =>
      readdirSync(join(directory, 'releases'))
        .sort()
        .map((name) => statSync(join(directory, 'releases', name, 'tree', file)).ino);
    expect(new Set(inode('templates/site.conf')).size).toBe(1);
    expect(new Set(inode('web.vgo')).size).toBe(2);
    expect([(await store.releases.byNumber(1))?.result, (await store.releases.byNumber(2))?.result]).toEqual(['superseded', 'live']);
  });

  test('an error anywhere leaves everything as it was', async () => {
    const directory = newDirectory();
    writeStage(directory, FILES);
    const { publisher, released, store } = await start(directory);
    await publisher.publish(BY_ALICE);
    const before = liveName(directory);
    writeStage(directory, { ...withPort(81), 'bad.vgo': 'match: "[x"\n' });
    const outcome = await publisher.publish(BY_ALICE);
    expect(outcome).toMatchObject({ status: 'refused', findings: [{ rule: 'MATCH-1', at: { file: 'bad.vgo', line: 1 } }] });
    symlinkSync('/etc/passwd', join(directory, 'stacks', 'templates', 'link'));
    expect((await publisher.validate()).findings.map(({ rule }) => rule)).toEqual(['TREE-4', 'MATCH-1']);
    expect(liveName(directory)).toBe(before);
    expect(publisher.live?.number).toBe(1);
    expect(released).toHaveLength(1);
    expect(await store.releases.list(10)).toHaveLength(1);
    expect(readdirSync(join(directory, 'releases'))).toHaveLength(1);
  });

  test('dry run, strict, dangerous, expected root', async () => {
    const directory = newDirectory();
    writeStage(directory, {
      ...FILES,
      'modules/site.vgo': `${FILES['modules/site.vgo']}  - { name: e, type: exec, command: /bin/true }\n`,
    });
    const { publisher } = await start(directory);
    expect(await publisher.publish(BY_ALICE)).toMatchObject({ status: 'refused', findings: [{ rule: 'IDEM-1', severity: 'error' }] });
    expect((await publisher.publish({ ...BY_ALICE, dangerous: true, strict: true })).status).toBe('refused');
    const dry = await publisher.publish({ ...BY_ALICE, dangerous: true, dryRun: true });
    expect(dry).toMatchObject({ status: 'dry_run', impact: { envoys: 2 } });
    expect(liveName(directory)).toBeUndefined();
    await expect(publisher.publish({ ...BY_ALICE, dangerous: true, root: '0000000000000000' })).rejects.toMatchObject({
      code: 'STAGE_CHANGED',
    });
    const live = await publisher.publish({ ...BY_ALICE, dangerous: true, root: dry.root.slice(0, 12) });
    expect(live.release?.stored.manifest.dangerous).toBe(true);
  });

  test('the stage may change while it is published: the copy goes live', async () => {
    const directory = newDirectory();
    writeStage(directory, FILES);
    const { publisher } = await start(directory, {
      onStep: (step) => {
        if (step === 'copied') writeStage(directory, withPort(99));
      },
    });
    const { release } = await publisher.publish(BY_ALICE);
    expect(JSON.parse(Buffer.from(release!.entryFor('web1')!.body).toString())).toMatchObject({ vars: { port: 80 } });
  });

  test('one at a time', async () => {
    const directory = newDirectory();
    writeStage(directory, FILES);
    const { publisher } = await start(directory);
    const results = await Promise.allSettled([publisher.publish(BY_ALICE), publisher.publish(BY_ALICE), publisher.rollback(BY_ALICE)]);
    expect(results.map((each) => (each.status === 'fulfilled' ? each.value.status : (each.reason as { code: string }).code))).toEqual([
      'live',
      'PUBLISH_BUSY',
      'PUBLISH_BUSY',
    ]);
    writeStage(directory, withPort(81));
    expect((await publisher.publish(BY_ALICE)).status).toBe('live');
  });

  test('gates: a freeze stops a publish but no dry run, an approval makes it wait', async () => {
    const directory = newDirectory();
    writeStage(directory, FILES);
    let frozen = true;
    const { publisher } = await start(directory, {
      gates: {
        async freeze() {
          if (frozen) throw new CodedError('FROZEN', 'frozen');
        },
        approval: async ({ directory: copy }) => (existsSync(join(copy, 'web.vgo')) ? 'pending' : 'go'),
      },
    });
    await expect(publisher.publish(BY_ALICE)).rejects.toMatchObject({ code: 'FROZEN' });
    expect((await publisher.publish({ ...BY_ALICE, dryRun: true })).status).toBe('dry_run');
    frozen = false;
    expect((await publisher.publish(BY_ALICE)).status).toBe('pending');
    expect([liveName(directory), publisher.live]).toEqual([undefined, undefined]);
  });

  test('envoys that lose their match are told', async () => {
    const directory = newDirectory();
    writeStage(directory, FILES);
    const { publisher } = await start(directory);
    await publisher.publish(BY_ALICE);
    writeStage(directory, { ...FILES, 'web.vgo': FILES['web.vgo'].replace('web*', 'web1') });
    expect(await publisher.publish({ ...BY_ALICE, dryRun: true })).toMatchObject({
      impact: { envoys: 2, unmatched: ['web2'] },
      findings: [{ rule: 'MATCH-3', severity: 'warning' }],
    });
  });

  test('subscribers that fail take it back', async () => {
    const directory = newDirectory();
    writeStage(directory, FILES);
    let fail = false;
    const { publisher, store, events } = await start(directory, {
      onRelease: async () => {
        if (fail) throw new Error('a thread died');
      },
    });
    await publisher.publish(BY_ALICE);
    const before = liveName(directory);
    fail = true;
    writeStage(directory, withPort(81));
    await expect(publisher.publish(BY_ALICE)).rejects.toThrow('a thread died');
    expect([liveName(directory), publisher.live?.number, (await store.releases.list(10)).length]).toEqual([before, 1, 1]);
    expect(events).toEqual(['config.published', 'config.reload_failed']);
    fail = false;
    expect((await publisher.publish(BY_ALICE)).release?.number).toBe(3);
  });
});

describe('rollback', () => {
  test('publishes the old tree under a new number', async () => {
    const directory = newDirectory();
    const { publisher, store } = await start(directory);
    for (const port of [80, 81, 82]) {
      writeStage(directory, withPort(port));
      await publisher.publish(BY_ALICE);
    }
    const first = (await store.releases.byNumber(1))!;
    const back = await publisher.rollback({ ...BY_ALICE, number: 1 });
    expect(back).toMatchObject({ status: 'live', root: first.root });
    expect(back.release?.stored.manifest).toMatchObject({ number: 4, rollback_of: 1, root: first.root });
    expect(await store.releases.byNumber(4)).toMatchObject({ rollbackOf: 1, result: 'live' });
    expect((await publisher.rollback({ ...BY_ALICE, number: 1 })).status).toBe('nothing');
    expect((await publisher.rollback(BY_ALICE)).release?.stored.manifest).toMatchObject({ number: 5, rollback_of: 3 });
    await expect(publisher.rollback({ ...BY_ALICE, number: 77 })).rejects.toMatchObject({ code: 'NOT_FOUND' });
    expect((await store.audit.list({ event: 'config.rolled_back' }, 10)).length).toBe(2);
  });

  test('a release that was tampered with is not rolled back to', async () => {
    const directory = newDirectory();
    const { publisher } = await start(directory);
    for (const port of [80, 81]) {
      writeStage(directory, withPort(port));
      await publisher.publish(BY_ALICE);
    }
    const path = join(directory, 'releases', readdirSync(join(directory, 'releases')).sort()[0]!);
    forceWritable(path);
    writeFileSync(join(path, 'tree/web.vgo'), withPort(666)['web.vgo']);
    await expect(publisher.rollback({ ...BY_ALICE, number: 1 })).rejects.toMatchObject({ code: 'RELEASE_INVALID' });
  });
});

describe('secrets', () => {
  const SECRET = {
    ...FILES,
    'templates/site.conf': 'pw secret:a/b\n',
    'db.vgo': 'match: "db*"\nmodules: [site]\nvars: { port: 1 }\n',
    'x.vgo': 'match: x\n',
  };

  test('a missing one is refused, a rotated one changes the epoch of its users only', async () => {
    const directory = newDirectory();
    writeStage(directory, { ...SECRET, 'modules/plain.vgo': 'name: plain\nresources: []\n', 'x.vgo': 'match: x\nmodules: [plain]\n' });
    const { publisher, secrets, released, events } = await start(directory);
    const refused = await publisher.publish(BY_ALICE);
    expect([refused.status, refused.findings.filter(({ severity }) => severity === 'error').map(({ rule }) => rule)]).toEqual([
      'refused',
      ['SEC-1'],
    ]);
    secrets.values.set('a/b', { value: Buffer.from('canary-1'), version: '1' });
    await publisher.publish(BY_ALICE);
    const epochs = () => ['web1', 'db1', 'x'].map((host) => publisher.live!.entryFor(host)!.secretsEpoch);
    const [web, db, plain] = epochs();
    expect(web).toBeGreaterThan(0);
    expect([db, plain]).toEqual([web, 0]);
    expect(await publisher.refreshSecrets()).toEqual([]);
    const hash = publisher.live!.entryFor('web1')!.policyHash;
    secrets.values.set('a/b', { value: Buffer.from('canary-2'), version: '2' });
    expect(await publisher.refreshSecrets()).toEqual(['db.vgo#0', 'web.vgo#0']);
    expect(epochs()).toEqual([web! + 1, web! + 1, 0]);
    expect(publisher.live!.entryFor('web1')!.policyHash).toBe(hash);
    expect([released.length, events.at(-1)]).toEqual([2, 'secret.rotated']);
    expect(Buffer.from(publisher.live!.entryFor('web1')!.body).includes('canary')).toBe(false);
    secrets.values.set('a/b', { value: Buffer.from('canary-1'), version: '1' });
    await publisher.refreshSecrets();
    expect(epochs()).toEqual([web, web, 0]);
  });

  test('a server does not start when the live release lacks a secret', async () => {
    const directory = newDirectory();
    writeStage(directory, SECRET);
    const first = await start(directory);
    first.secrets.values.set('a/b', { value: Buffer.from('x'), version: '1' });
    await first.publisher.publish(BY_ALICE);
    await stop(first);
    const again = await openPublishing(directory);
    opened.push(again);
    await expect(again.publisher.start()).rejects.toMatchObject({ code: 'SECRET_MISSING' });
  });
});

describe('questions', () => {
  test('trace and tree over live, stage and a release', async () => {
    const directory = newDirectory();
    writeStage(directory, FILES);
    const { publisher } = await start(directory);
    const hostnames = () => ['web1', 'web2', 'db1'];
    const clock = { now: () => 1_770_000_000_000, monotonic: () => 0, sleep: async () => undefined };
    const port = createConfigPort({ publisher, stage: join(directory, 'stacks'), clock, hostnames });
    await expect(port.trace({ name: 'web1' })).rejects.toMatchObject({ code: 'NOT_READY' });
    expect(await port.status()).toMatchObject({ healthy: false, live: null, stage_is_live: null });
    await publisher.publish(BY_ALICE);
    writeStage(directory, withPort(81));
    expect(await port.status()).toMatchObject({ healthy: true, live: { number: 1 }, stage_is_live: false });
    const value = async (query: Parameters<typeof port.trace>[0]) =>
      ((await port.trace(query))['variables'] as { value: number }[])[0]!.value;
    expect([
      await value({ name: 'web1' }),
      await value({ name: 'web1', stage: true }),
      await value({ name: 'db', release: 1 }).catch(() => 'none'),
    ]).toEqual([80, 81, 'none']);
    await expect(port.trace({ name: 'web' })).rejects.toMatchObject({ code: 'AMBIGUOUS_NAME' });
    expect(await port.trace({ name: 'db1' })).toMatchObject({ host: 'db1', match: null, variables: [], path: [] });
    expect(await port.trace({ name: 'web9' })).toMatchObject({ enrolled: false, match: 'web*', source: 'live', release: 1 });
    expect(await port.trace({ name: 'site' })).toMatchObject({
      host: null,
      module: 'site',
      entries: [{ entry: 'web.vgo#0' }],
      hosts: ['web1', 'web2'],
    });
    expect(Object.keys(await port.trace({ name: 'web1', sections: 'module,waiver' }))).not.toContain('variables');
    await expect(port.trace({ name: 'web1', sections: 'modul' })).rejects.toMatchObject({ code: 'BAD_REQUEST' });
    expect((await port.tree({})).directories).toEqual([
      { path: '', marks: '', entries: [{ ordinal: 1, file: 'web.vgo', line: 1, patterns: ['web*'], environment: null, envoys: 2 }] },
    ]);
    expect(lstatSync(join(directory, 'live')).isSymbolicLink()).toBe(true);
  });
});
