/** P1, P2, P3 and P8: what a check-in that changes nothing costs the server, beside an echo of the same size and a bare verification. */
import { Child, type Usage } from './child.ts';
import type { LoadOrder, LoadReply } from './load.ts';
import { type Bench, type Figure, median } from './measure.ts';
import { makeSite } from './site.ts';

const ENVOYS = 64;
type Mode = LoadOrder['mode'];
type Path = LoadOrder['path'];

interface Cost extends LoadReply {
  /** server CPU microseconds a request */
  readonly us: number;
  readonly delayMs: number;
}

class Measurement {
  readonly #load: Child;
  readonly #targets: Readonly<Record<Path, { readonly process: Child; readonly port: number }>>;

  constructor(load: Child, targets: Readonly<Record<Path, { readonly process: Child; readonly port: number }>>) {
    this.#load = load;
    this.#targets = targets;
  }

  async cost(path: Path, mode: Mode, seconds: number, rate = 0): Promise<Cost> {
    const { process, port } = this.#targets[path];
    const order: LoadOrder = { port, mode, path, from: 0, envoys: ENVOYS, seconds, rate };
    await process.ask('delay');
    const before = await process.ask<Usage>('usage');
    const reply = await this.#load.ask<LoadReply>(order);
    const after = await process.ask<Usage>('usage');
    if (reply.failed > 0 || reply.noChange < reply.requests)
      throw new Error(`not every ${path} was answered as it should: ${JSON.stringify(reply)}`);
    const { delayMs } = await process.ask<{ delayMs: number }>('delay');
    return { ...reply, us: ((after.cpuSeconds - before.cpuSeconds) * 1e6) / reply.requests, delayMs };
  }

  /** CPU microseconds of one verification of a check-in's signature. */
  async verify(bytes: number): Promise<number> {
    return (await this.#targets.echo.process.ask<{ verifyUs: number }>({ verifyBytes: bytes })).verifyUs;
  }
}

interface Rounds {
  readonly us: number;
  readonly echoUs: number;
  readonly verifyUs: number;
  readonly rate: number;
  readonly echoRate: number;
}

/** Alternates, because a shared machine changes its mind: every pair sees the same weather. */
async function alternate(of: Measurement, mode: Mode, rounds: number, seconds: number): Promise<Rounds> {
  const all: { checkIn: Cost; echo: Cost; verifyUs: number }[] = [];
  for (let round = 0; round < rounds; round++) {
    const echo = await of.cost('echo', mode, seconds);
    const checkIn = await of.cost('check-in', mode, seconds);
    all.push({ echo, checkIn, verifyUs: await of.verify(checkIn.requestBytes) });
  }
  const middle = (pick: (round: (typeof all)[number]) => number) => median(all.map(pick));
  return {
    us: middle(({ checkIn }) => checkIn.us),
    echoUs: middle(({ echo }) => echo.us),
    verifyUs: middle(({ verifyUs }) => verifyUs),
    rate: middle(({ checkIn }) => checkIn.requests / checkIn.seconds),
    echoRate: middle(({ echo }) => echo.requests / echo.seconds),
  };
}

const floorText = ({ echoUs, verifyUs }: Rounds) => `echo ${echoUs.toFixed(0)} + verify ${verifyUs.toFixed(0)}`;

export const checkIn: Bench = {
  name: 'check-in',
  ids: ['P1', 'P2', 'P3', 'P8'],
  async run({ dir, quick, say }, wanted) {
    const site = await makeSite(dir, ENVOYS, ENVOYS);
    const server = new Child('./server-process.ts', [site.dataDir]);
    const { port } = await server.next<{ port: number }>();
    const load = new Child('./load.ts', [site.dataDir]);
    await load.next();
    const figures: Figure[] = [];
    let echo: Child | undefined;
    try {
      // the size of the answer to echo, and code that is warm
      const warm: LoadOrder = { port, mode: 'kept', path: 'check-in', from: 0, envoys: ENVOYS, seconds: quick ? 1 : 3, rate: 0 };
      const { replyBytes, requestBytes } = await load.ask<LoadReply>(warm);
      echo = new Child('./echo-process.ts', [site.dataDir, String(replyBytes)]);
      const { port: echoPort } = await echo.next<{ port: number }>();
      const echoed = await load.ask<LoadReply>({ ...warm, port: echoPort, path: 'echo' });
      if (Math.abs(echoed.requestBytes - requestBytes) > 4)
        throw new Error(`the echo has ${echoed.requestBytes} bytes, the check-in ${requestBytes}`);
      const of = new Measurement(load, { 'check-in': { process: server, port }, echo: { process: echo, port: echoPort } });

      say('P1: kept connections');
      const kept = await alternate(of, 'kept', quick ? 3 : 7, quick ? 1 : 1.5);
      const floor = kept.echoUs + kept.verifyUs;
      if (wanted.has('P1'))
        figures.push({
          id: 'P1',
          what: 'check-in without a change, kept connection, server CPU',
          value: kept.us,
          unit: 'µs',
          floor: { what: floorText(kept), value: floor },
          limit: 100,
          note: `${ENVOYS} connections, request ${requestBytes} B, reply ${replyBytes} B, one in flight on each`,
        });
      if (wanted.has('P2') || wanted.has('P8')) {
        say('P2: 60 % load');
        const rate = 0.6 * Math.min(kept.rate, 1e6 / kept.us);
        const checkIns = await of.cost('check-in', 'kept', quick ? 3 : 8, rate);
        const echoes = await of.cost('echo', 'kept', quick ? 3 : 8, rate);
        if (wanted.has('P2'))
          figures.push(
            {
              id: 'P2',
              what: 'check-ins a second per core (1e6 / P1)',
              value: 1e6 / kept.us,
              unit: '/s',
              floor: { what: '1e6 / floor of P1', value: 1e6 / floor },
              limit: 10_000,
              higherIsBetter: true,
              note: `measured with one load process beside it: ${kept.rate.toFixed(0)} /s, echo ${kept.echoRate.toFixed(0)} /s`,
            },
            {
              id: 'P2.p99',
              what: `p99 at 60 % load (${rate.toFixed(0)} /s)`,
              value: checkIns.p99Ms,
              unit: 'ms',
              floor: { what: 'echo at the same rate', value: echoes.p99Ms },
              limit: 20,
              note: `p50 ${checkIns.p50Ms.toFixed(1)} ms`,
            },
          );
        if (wanted.has('P8'))
          figures.push({
            id: 'P8',
            what: 'longest delay of a check-in thread at 60 % load',
            value: checkIns.delayMs,
            unit: 'ms',
            floor: { what: 'echo at the same rate', value: echoes.delayMs },
            limit: 10,
            note: 'monitorEventLoopDelay, max; holds what the machine took away as well',
          });
      }
      if (wanted.has('P3'))
        for (const [mode, limit] of [
          ['resumed', 800],
          ['fresh', 1_500],
        ] as const) {
          say(`P3: ${mode} connections`);
          const rounds = await alternate(of, mode, quick ? 1 : 3, quick ? 1 : 2.5);
          figures.push({
            id: `P3.${mode}`,
            what: `the same, ${mode} connection`,
            value: rounds.us,
            unit: 'µs',
            floor: { what: floorText(rounds), value: rounds.echoUs + rounds.verifyUs },
            limit,
            note: `${rounds.rate.toFixed(0)} /s`,
          });
        }
      return figures;
    } finally {
      for (const process of [load, echo, server]) await process?.stop();
    }
  },
};
