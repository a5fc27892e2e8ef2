/** Every collector over captured machines, and the gathering of them all. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { parse } from 'yaml';
import { systemClock } from '../../core/base/clock.ts';
import { type Answer, FakeSystem, type FileGiven } from '../../test/fakes/fake-system.ts';
import { quietLog } from '../../test/fakes/quiet-log.ts';
import { choosePlatform } from '../system/choose-platform.ts';
import { LocalSystem } from '../system/local-system.ts';
import { createTraitSource } from './collect.ts';
import type { CollectorContext, TraitCollector } from './collector.ts';
import { COLLECTORS } from './index.ts';

const GOLDEN = join(import.meta.dirname, 'golden');

interface Case {
  readonly given: { files?: Record<string, FileGiven | string>; run?: Answer[]; commands?: string[]; now?: number };
  readonly want?: unknown;
  /** for what depends on the time zone of whoever runs the test */
  readonly wantPart?: object;
}

async function contextFor(given: Case['given'] = {}): Promise<CollectorContext> {
  const system = new FakeSystem(given);
  system.time = given.now ?? system.time;
  return {
    system,
    platform: await choosePlatform(system),
    envoy: { id: '0192f0c1-2345-7000-8000-000000000001', hostname: 'web01', environment: undefined },
    signal: new AbortController().signal,
  };
}

describe.each(COLLECTORS.map((collector) => [collector.name, collector] as const))('%s', (name, collector) => {
  test.each(readdirSync(join(GOLDEN, name)))('%s', async (file) => {
    const { given, want, wantPart } = parse(readFileSync(join(GOLDEN, name, file), 'utf8')) as Case;
    const value = await collector.collect(await contextFor(given));
    if (wantPart !== undefined) expect(value).toMatchObject(wantPart);
    else expect(value).toEqual(want ?? undefined);
  });
});

test('the registry is sorted and every name is there once', () => {
  const names = COLLECTORS.map(({ name }) => name);
  expect(names).toEqual([...new Set(names)].sort());
});

describe('collecting', () => {
  const counting = (name: string, refresh: TraitCollector['refresh'], more: Partial<TraitCollector> = {}) => {
    let asked = 0;
    const collector: TraitCollector = { name, refresh, collect: async () => ({ asked: ++asked }), ...more };
    return collector;
  };

  test('volatile ones are asked every cycle, stable ones every third here, periodic ones hourly', async () => {
    let now = 0;
    const clock = { ...systemClock, monotonic: () => now };
    const collectors = [counting('v', 'volatile'), counting('s', 'stable'), counting('p', 'periodic')];
    const source = createTraitSource({ collectors, clock, log: quietLog(), refreshCycles: 3 });
    const context = await contextFor();
    const seen = [];
    for (let i = 0; i < 4; i++) seen.push(await source.collect(context));
    expect(seen.map((one) => JSON.stringify(one))).toEqual([
      '{"v":{"asked":1},"s":{"asked":1},"p":{"asked":1}}',
      '{"v":{"asked":2},"s":{"asked":1},"p":{"asked":1}}',
      '{"v":{"asked":3},"s":{"asked":1},"p":{"asked":1}}',
      '{"v":{"asked":4},"s":{"asked":2},"p":{"asked":1}}',
    ]);
    now = 3_600_000;
    source.expire();
    expect(JSON.stringify(await source.collect(context))).toBe('{"v":{"asked":5},"s":{"asked":3},"p":{"asked":2}}');
    expect(JSON.stringify(await source.collect(context, { fresh: true }))).toBe('{"v":{"asked":6},"s":{"asked":4},"p":{"asked":3}}');
  });

  test('one that fails and one that hangs are logged and left out; the others are there', async () => {
    const log = quietLog();
    const source = createTraitSource({
      collectors: [
        counting('good', 'stable'),
        counting('broken', 'stable', { collect: () => Promise.reject(new Error('no such sysctl')) }),
        counting('stuck', 'volatile', { timeoutMs: 30, collect: () => new Promise(() => undefined) }),
        counting('silent', 'stable', { collect: () => Promise.resolve(undefined) }),
      ],
      clock: systemClock,
      log,
      refreshCycles: 10,
    });
    expect(await source.collect(await contextFor())).toEqual({ good: { asked: 1 } });
    expect(log.lines.map(({ fields }) => fields)).toEqual([
      { collector: 'broken', error: 'no such sysctl' },
      { collector: 'stuck', error: 'stuck took longer than 30 ms' },
    ]);
  });

  test('the machine under this test has them all', async () => {
    const log = quietLog();
    const system = new LocalSystem();
    const source = createTraitSource({ collectors: COLLECTORS, clock: systemClock, log, refreshCycles: 10 });
    const platform = await choosePlatform(system);
    const envoy = { id: undefined, hostname: undefined, environment: undefined };
    const traits = await source.collect({ system, platform, envoy, signal: new AbortController().signal });
    expect(log.lines).toEqual([]);
    expect(Object.keys(traits)).toEqual(
      expect.arrayContaining(['hardware', 'identity', 'memory', 'mountpoints', 'network', 'os', 'time', 'uptime', 'users']),
    );
    expect(traits['os']).toMatchObject({ arch: process.arch === 'x64' ? 'amd64' : process.arch });
  });
});
