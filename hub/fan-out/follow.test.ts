/** Runs of the fleet as they come: from every site, across a cut, for one target, and ended by whoever listens. */
import { randomBytes } from 'node:crypto';
import { expect, jest, test } from '@jest/globals';
import { systemClock } from '../../core/base/clock.ts';
import { newId } from '../../core/base/ids.ts';
import { permissionsOf } from '../../server/access/roles.ts';
import { FleetIndex } from '../../server/fleet/fleet-index.ts';
import type { FinishedRun } from '../../server/fleet/run-intake.ts';
import type { HandlerInput } from '../../server/rest/handler.ts';
import type { LinkSession } from '../../server/spanner/link.ts';
import { pairedSessions } from '../../server/spanner/paired.ts';
import { answerRunsTail } from '../../server/spanner/site/runs-tail.ts';
import { eventually } from '../../test/harness/eventually.ts';
import { Asking } from './ask.ts';
import { followHandler } from './follow.ts';

jest.setTimeout(20_000);

class RunningSite {
  readonly id: string;
  readonly fleet = new FleetIndex();
  readonly #listeners: ((run: FinishedRun) => void)[] = [];
  readonly #answer;
  session: LinkSession | undefined;

  constructor(id: string) {
    this.id = id;
    const intake = { onRun: (listener: (run: FinishedRun) => void) => this.#listeners.push(listener) };
    this.#answer = answerRunsTail({ fleet: this.fleet, intake } as never);
    this.link();
  }

  link(): void {
    this.session = pairedSessions({ siteId: 'hub', answers: [] }, { siteId: this.id, answers: [this.#answer] })[0];
  }

  envoy(hostname: string): string {
    const id = newId(Date.now());
    this.fleet.insert({ id, hostname, identityKey: randomBytes(32), status: 'active', ownerEpoch: 1 });
    return id;
  }

  finish(envoyId: string, hostname: string, runId: string): void {
    const report = { run_id: runId, started_at: 1000, ended_at: 2000, mode: 'enforce', flags: [], release: 3, outcomes: [] };
    for (const listener of this.#listeners)
      listener({ envoyId, hostname, report, receivedAt: 3000, after: { runState: 'converged' } } as never);
  }
}

function follow(sites: RunningSite[], query: object = {}, role = 'viewer') {
  const asking = new Asking({
    sites: () => sites.map(({ id, session }) => ({ id, session, heardAt: 1 })),
    deadlineMs: () => 300,
    maxBytes: 1000,
    maxTotalBytes: 1000,
    clock: systemClock,
  });
  const end = new AbortController();
  const input: HandlerInput<unknown, unknown, unknown> = {
    params: {},
    query,
    body: {},
    principal: { kind: 'user', id: 'u', name: 'alice', role, permissions: permissionsOf(role), address: '' },
    address: '',
    requestId: 'r',
    signal: end.signal,
    status: () => undefined,
    header: () => undefined,
  };
  const got: string[] = [];
  const done = (async () => {
    for await (const run of followHandler(asking, systemClock).handle(input) as AsyncIterable<{ id: string; hostname: string }>)
      got.push(`${run.hostname} ${run.id}`);
  })();
  return { got, done, end };
}

/** The first question of a listener only tells it where it stands. */
const settled = () => systemClock.sleep(100);

test('runs of every site arrive, none twice, also after a cut', async () => {
  const [dc1, eu1] = [new RunningSite('dc1'), new RunningSite('eu1')];
  const [a, b] = [dc1.envoy('a.dc1'), eu1.envoy('b.eu1')];
  dc1.finish(a, 'a.dc1', 'before');
  const { got, done, end } = follow([dc1, eu1]);
  await settled();
  dc1.finish(a, 'a.dc1', 'r1');
  eu1.finish(b, 'b.eu1', 'r2');
  dc1.finish(a, 'a.dc1', 'r3');
  await eventually(() => expect([...got].sort()).toEqual(['a.dc1 r1', 'a.dc1 r3', 'b.eu1 r2']));
  dc1.session!.close('cut');
  dc1.finish(a, 'a.dc1', 'r4');
  dc1.link();
  await eventually(() => expect(got).toContain('a.dc1 r4'));
  dc1.finish(a, 'a.dc1', 'r5');
  await eventually(() => expect(got).toEqual([...new Set(got)]));
  await eventually(() => expect(got.at(-1)).toBe('a.dc1 r5'));
  end.abort();
  await done;
});

test('only those of the target, and of the spoke that was named', async () => {
  const [dc1, eu1] = [new RunningSite('dc1'), new RunningSite('eu1')];
  const [a, c, b] = [dc1.envoy('a.dc1'), dc1.envoy('c.dc1'), eu1.envoy('a.eu1')];
  const all = follow([dc1, eu1], { target: 'a.*' });
  const one = follow([dc1, eu1], { spoke: 'dc1' });
  await settled();
  dc1.finish(a, 'a.dc1', 'r1');
  dc1.finish(c, 'c.dc1', 'r2');
  eu1.finish(b, 'a.eu1', 'r3');
  await eventually(() =>
    expect([[...all.got].sort(), one.got]).toEqual([
      ['a.dc1 r1', 'a.eu1 r3'],
      ['a.dc1 r1', 'c.dc1 r2'],
    ]),
  );
  all.end.abort();
  one.end.abort();
  await Promise.all([all.done, one.done]);
});

test('a target that no site can read, and a role without the right, end the stream with that reason', async () => {
  const site = new RunningSite('dc1');
  await expect(follow([site], { target: '-a' }).done).rejects.toMatchObject({ code: 'TARGET_SYNTAX' });
  await expect(follow([site], {}, 'nobody').done).rejects.toMatchObject({ code: 'PERMISSION_DENIED' });
});
