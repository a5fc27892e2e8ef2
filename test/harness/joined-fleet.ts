/** A hub and spokes as processes of their own, joined by tokens as an admin would. */
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { eventually } from './eventually.ts';
import { makeSite, type Site, type SiteOptions } from './site.ts';

export interface JoinedFleet {
  readonly hub: Site;
  readonly spokes: ReadonlyMap<string, Site>;
  spoke(id: string): Site;
  /** waits until the hub shows the links of these spokes as up */
  linked(...ids: readonly string[]): Promise<void>;
  remove(): Promise<void>;
}

export async function makeJoinedFleet(
  ids: readonly string[],
  settings: NonNullable<SiteOptions['settings']> = {},
  /** stage of the hub; the example without */
  tree?: string,
): Promise<JoinedFleet> {
  const spanner = { heartbeat: '500ms', query_deadline: '2s' };
  const hub = await makeSite({
    hostname: 'localhost',
    init: ['--role', 'hub'],
    tree,
    settings: { ...settings, spanner: { role: 'hub', ...spanner, ...settings['spanner'] } },
  });
  await hub.start();
  const spokes = new Map<string, Site>();
  const made: JoinedFleet = {
    hub,
    spokes,
    spoke(id) {
      const found = spokes.get(id);
      if (found === undefined) throw new Error(`no spoke ${id}`);
      return found;
    },
    linked: (...wanted) =>
      eventually(
        async () => {
          const { items } = await hub.cliJson<{ items: { id: string; link: { state: string } }[] }>(['spanner', 'spoke', 'list']);
          const up = items.filter(({ link }) => link.state === 'up').map(({ id }) => id);
          for (const id of wanted)
            if (!up.includes(id)) throw new Error(`${id} has no link\n${spokes.get(id)?.log().slice(-3000)}\n${hub.log().slice(-3000)}`);
        },
        { timeoutMs: 30_000, everyMs: 300 },
      ),
    async remove() {
      for (const site of [...spokes.values(), hub]) await site.remove();
    },
  };
  for (const id of ids) {
    const token = (await hub.cli(['--quiet', 'spanner', 'spoke', 'add', id, '--pattern', `*.${id}.example`])).trim();
    const top = mkdtempSync(join(tmpdir(), `vigo-${id}-`));
    writeFileSync(join(top, 'join.token'), token, { mode: 0o600 });
    const site = await makeSite({
      hostname: 'localhost',
      top,
      init: ['--role', 'spoke', '--hub-addr', `localhost:${hub.grpcPort}`, '--join-token-file', join(top, 'join.token')],
      settings: {
        ...settings,
        spanner: { role: 'spoke', spoke_id: id, hub_addr: `localhost:${hub.grpcPort}`, join_token_file: 'join.token', heartbeat: '500ms' },
      },
    });
    spokes.set(id, site);
    await site.start();
  }
  await made.linked(...ids);
  return made;
}
