/** Two regions in containers: each site lives alone while its link is cut, and the hub shows everything once when it is back. */
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { ensureDocker } from '../../tools/ensure-docker.ts';
import { eventually } from '../harness/eventually.ts';
import { type EnvoyHost, openRegions, type Regions, type ServerHost } from '../harness/regions.ts';
import { describeUnless } from '../harness/where.ts';

const INTERVAL_S = 5;
const HEARTBEAT_S = 1;
const PER_REGION = 6;
/** of each region, the last one enrols while the link is cut */
const BEFORE_THE_CUT = PER_REGION - 1;
const SETTLED = { timeoutMs: 60_000, everyMs: 500 };

const TREE = {
  'default.vgo': '- match: "*.test"\n  modules: [banner]\n',
  'modules/banner.vgo':
    'name: banner\nresources:\n  - name: Login banner\n    type: file\n    target_path: /etc/motd\n    mode: "0644"\n    content: "{{ .Envoy.hostname }} is kept by vigo.\\n"\n',
};

interface Listed {
  readonly items: readonly { readonly hostname: string; readonly spoke: string; readonly state: string }[];
  readonly complete: boolean;
  readonly spokes: readonly { readonly id: string; readonly status: string }[];
}

const problem = await ensureDocker();

describeUnless(problem === undefined ? undefined : `two regions: ${problem}`)('two regions', () => {
  let regions: Regions;
  const ids = ['north', 'south'] as const;
  const spokeOf = (id: string): ServerHost => regions.spokes[id]!;
  const envoysOf = (id: string): readonly EnvoyHost[] => regions.envoys.filter(({ spoke }) => spoke === id);
  const listed = (server: ServerHost) => server.cliJson<Listed>(['envoys', 'list', '--limit', '1000'], [0, 8]);

  async function enrol(envoy: EnvoyHost, at: ServerHost, askedAt: ServerHost): Promise<void> {
    const { items } = await askedAt.cliJson<{ items: { token: string }[] }>(['tokens', 'create', '--pattern', envoy.hostname]);
    await envoy.register(at, items[0]!.token);
    await envoy.start();
  }

  beforeAll(async () => {
    regions = await openRegions({
      spokes: { north: { envoys: PER_REGION }, south: { envoys: PER_REGION } },
      settings: {
        checkin: { interval: `${INTERVAL_S}s`, herd_window: '1s' },
        enrollment: { token_bcrypt_cost: 10 },
        spanner: { heartbeat: `${HEARTBEAT_S}s` },
      },
    });
    const { hub } = regions;
    await hub.sh('rm -rf /srv/vigo/stacks/* && mkdir -p /srv/vigo/stacks/modules');
    for (const [path, text] of Object.entries(TREE)) await hub.write(`/srv/vigo/stacks/${path}`, text);
    await hub.cli(['config', 'publish', '--yes', '--message', 'regions']);
    for (const id of ids)
      await Promise.all(
        envoysOf(id)
          .slice(0, BEFORE_THE_CUT)
          .map((envoy) => enrol(envoy, spokeOf(id), hub)),
      );
  }, 240_000);

  afterAll(async () => {
    await regions?.stop();
  }, 60_000);

  test('envoys enrolled with tokens of the hub belong to the spoke of their region, and converge', async () => {
    await eventually(async () => {
      const { items, complete } = await listed(regions.hub);
      expect(complete).toBe(true);
      expect(items.map(({ hostname, spoke, state }) => `${hostname} ${spoke} ${state}`).sort()).toEqual(
        ids
          .flatMap((id) => Array.from({ length: BEFORE_THE_CUT }, (_unused, index) => `web${index + 1}.${id}.test ${id} converged`))
          .sort(),
      );
    }, SETTLED);
  }, 90_000);

  test('ten intervals without the hub: sites converge, repair, enrol from their permits and answer; then the hub shows everybody once', async () => {
    await Promise.all(ids.map((id) => regions.link(id, false)));
    const cutAt = Date.now();
    await eventually(
      async () => {
        const { complete, spokes } = await listed(regions.hub);
        expect({
          complete,
          offline: spokes
            .filter(({ status }) => status === 'offline')
            .map(({ id }) => id)
            .sort(),
        }).toEqual({
          complete: false,
          offline: ['north', 'south'],
        });
      },
      { timeoutMs: 3 * HEARTBEAT_S * 1000 + 10_000, everyMs: 250 },
    );
    await Promise.all(
      ids.map(async (id) => {
        const last = envoysOf(id).at(-1)!;
        await enrol(last, spokeOf(id), spokeOf(id));
        const first = envoysOf(id)[0]!;
        await first.sh('echo edited by hand > /etc/motd');
        await eventually(async () => expect(await first.sh('cat /etc/motd')).toBe(`${first.hostname} is kept by vigo.`), SETTLED);
        await eventually(async () => {
          const { items } = await listed(spokeOf(id));
          expect(items.map(({ hostname, state }) => `${hostname} ${state}`).sort()).toEqual(
            envoysOf(id)
              .map(({ hostname }) => `${hostname} converged`)
              .sort(),
          );
        }, SETTLED);
      }),
    );
    await new Promise((resolve) => setTimeout(resolve, Math.max(0, cutAt + 10 * INTERVAL_S * 1000 - Date.now())));
    await Promise.all(ids.map((id) => regions.link(id, true)));
    await eventually(async () => {
      const { items, complete } = await listed(regions.hub);
      expect(complete).toBe(true);
      expect(items.map(({ hostname, spoke, state }) => `${hostname} ${spoke} ${state}`).sort()).toEqual(
        regions.envoys.map(({ hostname, spoke }) => `${hostname} ${spoke} converged`).sort(),
      );
    }, SETTLED);
    // what happened at the sites is in the hub's view of the audit log, each event once
    await eventually(async () => {
      const { items } = await regions.hub.cliJson<{ items: { spoke: string; actor: string }[] }>(
        ['audit', 'log', '--event', 'envoy.enrolled', '--limit', '1000'],
        [0, 8],
      );
      expect(items.map(({ spoke, actor }) => `${actor} ${spoke}`).sort()).toEqual(
        regions.envoys.map(({ hostname, spoke }) => `${hostname} ${spoke}`).sort(),
      );
    }, SETTLED);
  }, 240_000);

  test('a link cut one way is noticed by the missing heartbeats within three of them', async () => {
    const north = spokeOf('north');
    await regions.dropOneWay(north, regions.hub, true);
    const begun = Date.now();
    await eventually(
      async () => {
        const { spokes } = await regions.hub.cliJson<{ spokes: { id: string; link: string | { state: string } }[] }>(['spanner', 'status']);
        expect(JSON.stringify(spokes.find(({ id }) => id === 'north'))).toMatch(/unreachable|down/);
      },
      { timeoutMs: 15_000, everyMs: 100 },
    );
    // three heartbeats, the one under way, and the time of the command that looks
    expect(Date.now() - begun).toBeLessThan(4 * HEARTBEAT_S * 1000 + 2_500);
    await regions.dropOneWay(north, regions.hub, false);
    await eventually(async () => expect((await listed(regions.hub)).complete).toBe(true), SETTLED);
  }, 90_000);
});
