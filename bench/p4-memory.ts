/** P4: what an envoy costs the server in memory when it polls and leaves, and a large fleet that is only known. */
import { Child, type Usage } from './child.ts';
import { type Bench, type BenchContext, type Figure, MEGABYTE, pause } from './measure.ts';
import { type BenchSite, makeSite } from './site.ts';

const WARM = 64;
const FLEET = 10_000;
/** what makes the table: id, keys, hashes and counters (server/fleet/columns.ts) */
const BYTES_A_SLOT = 270;

async function settled(server: Child): Promise<Usage> {
  await server.ask('collect');
  await server.ask('collect');
  return server.ask<Usage>('usage');
}

interface Memory {
  readonly warm: Usage;
  readonly polled: Usage | undefined;
}

/** The same warm-up for every server, so that the difference is the fleet and nothing else. */
async function measure(site: BenchSite, polling: number, { say, quick }: BenchContext): Promise<Memory> {
  const server = new Child('./server-process.ts', [site.dataDir]);
  const load = new Child('./load.ts', [site.dataDir]);
  try {
    const { port } = await server.next<{ port: number }>();
    await load.next();
    const sweep = async (from: number, envoys: number, passes: number) => {
      const { failed } = await load.ask<{ failed: number }>({ port, from, envoys, passes, at: 32 });
      if (failed > 0) throw new Error(`${failed} check-ins failed`);
    };
    await sweep(0, WARM, quick ? 5 : 30);
    const warm = await settled(server);
    if (polling === 0) return { warm, polled: undefined };
    say(`P4: ${polling} envoys come twice`);
    await sweep(WARM, polling, 2);
    return { warm, polled: await settled(server) };
  } finally {
    await load.stop();
    await server.stop();
  }
}

async function idleNode(): Promise<Usage> {
  const process = new Child('./idle-process.ts', []);
  try {
    await process.next();
    return await process.ask<Usage>('usage');
  } finally {
    await process.stop();
  }
}

export const memory: Bench = {
  name: 'memory',
  ids: ['P4'],
  async run(context) {
    const { dir, quick, say } = context;
    const polling = quick ? 1_000 : 4_000;
    say('P4: making envoys');
    const small = await makeSite(dir, WARM, WARM, {}, 'empty');
    const large = await makeSite(dir, WARM + FLEET, WARM + polling);
    const empty = (await measure(small, 0, context)).warm;
    const { warm, polled } = await measure(large, polling, context);
    // knowing 10,000 is measured as it is; what polling adds is measured on fewer, a certificate each, and scaled up
    const grown = (warm.rssBytes - empty.rssBytes + (polled!.rssBytes - warm.rssBytes) * (FLEET / polling)) / MEGABYTE;
    const figures: Figure[] = [
      {
        id: 'P4',
        what: `RSS growth with 10,000 envoys, ${polling} of them polling, scaled`,
        value: grown,
        unit: 'MB',
        floor: { what: 'columns of 10,000', value: (FLEET * BYTES_A_SLOT) / MEGABYTE },
        limit: 10,
        note: `empty ${mb(empty)}, known ${mb(warm)}, after two check-ins each ${mb(polled!)}; garbage collected before each`,
      },
    ];
    const many = quick ? 20_000 : 100_000;
    say(`P4: ${many} envoys that are only known`);
    const site = await makeSite(dir, many, 0);
    const server = new Child('./server-process.ts', [site.dataDir]);
    try {
      await server.next();
      await pause(2_000);
      const known = await settled(server);
      const idle = await idleNode();
      figures.push({
        id: 'P4.known',
        what: `RSS with ${many} envoys in the index`,
        value: known.rssBytes / MEGABYTE,
        unit: 'MB',
        floor: { what: 'empty Node process + columns', value: (idle.rssBytes + many * BYTES_A_SLOT) / MEGABYTE },
        limit: 250,
        note: `of it not shared with files ${(known.anonBytes / MEGABYTE).toFixed(0)} MB`,
      });
    } finally {
      await server.stop();
    }
    return figures;
  },
};

function mb({ rssBytes }: Usage): string {
  return `${(rssBytes / MEGABYTE).toFixed(1)} MB`;
}
