/** The hub's handlers of routes about the fleet: as those of a site, for all sites. */
import type { RouteContract } from '../../core/api/route.ts';
import type { Clock } from '../../core/base/clock.ts';
import { CodedError } from '../../core/base/errors.ts';
import { canonicalJson } from '../../core/base/json.ts';
import type { Handler } from '../../server/rest/handler.ts';
import { type AskedSite, type Asking, type Input, isComplete, type SiteAnswer, type SpokeStatus } from './ask.ts';
import { LOST, mergePages, type Order, type Place, readPlaces, type SitePage, START, writePlaces } from './merge.ts';
import { FAN_OUT, type How } from './routes.ts';
import { SingleFlight } from './single-flight.ts';

export interface FanOutParts {
  readonly asking: Asking;
  /** the hub's own site */
  readonly own: string;
  /** the site that owns an envoy, by id or host name, as far as the hub knows */
  ownerOf(name: string): Promise<string | undefined>;
  readonly clock: Clock;
}

interface FleetQuery {
  readonly spoke?: string | undefined;
  readonly require_complete?: boolean | undefined;
  readonly limit?: number;
  readonly cursor?: string | undefined;
}

const MAX_LIMIT = 1000;
/** Equal questions within this time are asked once. */
const FRESH_MS = 1_000;

function unknownSpoke(id: string): CodedError {
  return new CodedError('NOT_FOUND', `no spoke ${id.slice(0, 80)}`, { hint: 'vigocli spanner spoke list' });
}

/** A refusal of every site that answered, such as a target that cannot be read, is the answer. */
function assertAnswered(answers: readonly SiteAnswer[]): void {
  const refusals = answers.flatMap(({ refusal }) => refusal ?? []);
  const [first] = refusals;
  if (first !== undefined && refusals.length === answers.filter(({ spoke }) => spoke.status === 'answered').length) {
    if (refusals.every(({ code }) => code === first.code)) throw first;
  }
}

/** A list of one envoy: sites that do not know it have nothing of it, unless nobody knows it. */
function withoutStrangers(answers: readonly SiteAnswer[]): readonly SiteAnswer[] {
  const isStranger = ({ refusal }: SiteAnswer) => refusal?.code === 'NOT_FOUND';
  if (answers.every(isStranger)) return answers;
  return answers.map((each) =>
    isStranger(each)
      ? { spoke: { id: each.spoke.id, status: each.spoke.status, age_s: each.spoke.age_s }, body: { items: [], next_cursor: null } }
      : each,
  );
}

function assertComplete(input: Input, spokes: readonly SpokeStatus[], complete: boolean): void {
  if (complete || (input.query as FleetQuery).require_complete !== true) return;
  const missing = spokes.filter(({ status, error }) => status !== 'answered' || error !== undefined);
  throw new CodedError(
    'INCOMPLETE',
    `${missing.length} of ${spokes.length} spokes did not answer: ${missing.map(({ id }) => id).join(', ')}`,
    {
      details: { spokes },
    },
  );
}

class FanOut {
  readonly #parts: FanOutParts;
  readonly #flights: SingleFlight;

  constructor(parts: FanOutParts) {
    this.#parts = parts;
    this.#flights = new SingleFlight(parts.clock, FRESH_MS);
  }

  handler(own: Handler, how: How): Handler {
    const { contract } = own;
    const answer = (input: Input): Promise<unknown> => {
      if (how.kind === 'list') return this.#shared(contract, input, () => this.#list(contract, input, how.order, how.sorted ?? {}));
      if (how.kind === 'combine') {
        const combine = () => this.#combine(contract, input, how.combine);
        return contract.method === 'GET' ? this.#shared(contract, input, combine) : combine();
      }
      return this.#single(contract, input, how, 'answer');
    };
    const isSingle = how.kind === 'owner' || how.kind === 'any';
    return {
      contract,
      handle: answer,
      ...(own.current !== undefined && isSingle ? { current: (input: Input) => this.#single(contract, input, how, 'current') } : {}),
    };
  }

  /** Equal questions of people with equal rights. */
  #shared(contract: RouteContract, input: Input, work: () => Promise<unknown>): Promise<unknown> {
    const { params, query, body, principal } = input;
    const key = canonicalJson(
      JSON.parse(JSON.stringify([contract.name, params, query, body, principal.role, [...principal.permissions].sort()])),
    );
    return this.#flights.once(key, work);
  }

  #asked(input: Input): readonly AskedSite[] {
    const { spoke } = { ...(input.query as FleetQuery), ...(input.body as FleetQuery | undefined) };
    const { sites } = this.#parts.asking;
    if (spoke === undefined) return sites;
    const site = sites.find(({ id }) => id === spoke);
    if (site === undefined) throw unknownSpoke(spoke);
    return [site];
  }

  async #list(contract: RouteContract, input: Input, order: Order, sorted: Readonly<Record<string, unknown>>): Promise<unknown> {
    const { asking, clock } = this.#parts;
    const { limit = 100, cursor } = input.query as FleetQuery;
    const sites = this.#asked(input);
    const before = cursor === undefined ? new Map<string, Place>() : readPlaces(contract.name, cursor, clock.now());
    const placeOf = (id: string): Place => before.get(id) ?? (cursor === undefined ? START : LOST);
    const asked = await asking.all(contract, input, sites, ({ id }) => {
      const place = placeOf(id);
      if (place.done) return undefined;
      return { ...sorted, limit: Math.min(MAX_LIMIT, limit + place.consumed), cursor: place.cursor ?? undefined };
    });
    const answers = (input.query as { envoy?: unknown }).envoy === undefined ? asked : withoutStrangers(asked);
    assertAnswered(answers);
    const pages: SitePage[] = answers.flatMap(({ spoke, body }) => {
      if (body === undefined) return [];
      const { items, next_cursor: nextCursor } = body as { items: SitePage['items']; next_cursor: string | null };
      // a spoke speaks for itself alone; the hub's own tokens name the spoke they are for
      const named =
        spoke.id === this.#parts.own ? items : items.map((row) => (Object.hasOwn(row, 'spoke') ? { ...row, spoke: spoke.id } : row));
      return [{ site: spoke.id, items: named, nextCursor }];
    });
    const start = new Map(sites.map(({ id }) => [id, placeOf(id)]));
    for (const { spoke, body } of answers) if (body === undefined) start.set(spoke.id, LOST);
    const { items, places } = mergePages(pages, start, order, limit);
    const said = new Map(answers.map(({ spoke }) => [spoke.id, spoke]));
    const spokes = sites.map(({ id }): SpokeStatus => {
      const lost = start.get(id)?.cursor === LOST.cursor;
      return said.get(id) ?? { id, status: lost ? 'offline' : 'answered', age_s: lost ? null : 0 };
    });
    const complete = spokes.every(({ status, error }) => status === 'answered' && error === undefined);
    assertComplete(input, spokes, complete);
    const isOver = [...places.values()].every(({ done }) => done);
    return { items, next_cursor: isOver ? null : writePlaces(contract.name, places, clock.now()), complete, spokes };
  }

  async #combine(contract: RouteContract, input: Input, combine: (answers: readonly SiteAnswer[]) => unknown): Promise<unknown> {
    const answers = await this.#parts.asking.all(contract, input, this.#asked(input));
    assertAnswered(answers);
    assertComplete(
      input,
      answers.map(({ spoke }) => spoke),
      isComplete(answers),
    );
    return combine(answers);
  }

  /** One thing: where the hub knows it to be, else where it is found. */
  async #single(
    contract: RouteContract,
    input: Input,
    how: Extract<How, { kind: 'owner' | 'any' }>,
    part: 'answer' | 'current',
  ): Promise<unknown> {
    const { asking, ownerOf } = this.#parts;
    const sites = this.#asked(input);
    const envoy =
      how.kind === 'owner' ? (input[how.in] as Readonly<Record<string, unknown>>)[how.param] : (input.query as { envoy?: unknown }).envoy;
    const ownerId = typeof envoy === 'string' ? await ownerOf(envoy) : undefined;
    const owner = sites.find(({ id }) => id === ownerId);
    if (owner !== undefined) {
      try {
        return this.#done(input, await asking.one(owner, contract, input, { part }));
      } catch (thrown) {
        // it may have moved on this very moment, or the roster lags: then the others are asked
        if (!(thrown instanceof CodedError) || thrown.code !== 'NOT_FOUND') throw thrown;
      }
    }
    const found = await Promise.allSettled(
      sites.filter((site) => site !== owner).map((site) => asking.one(site, contract, input, { part })),
    );
    const good = found.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : []));
    const [first, ...more] = good;
    if (first !== undefined && more.length === 0) return this.#done(input, first);
    const reasons = found.flatMap((each) => (each.status === 'rejected' ? [each.reason as unknown] : []));
    if (more.length > 0)
      throw new CodedError('AMBIGUOUS_NAME', `${good.length} spokes know such a thing`, {
        hint: 'write more of the name, or give --spoke',
      });
    const isNowhere = (thrown: unknown) => thrown instanceof CodedError && thrown.code === 'NOT_FOUND';
    const isGone = (thrown: unknown) => thrown instanceof CodedError && (thrown.code === 'SPOKE_UNAVAILABLE' || thrown.code === 'DEADLINE');
    const refusal = reasons.find((thrown) => !isNowhere(thrown) && !isGone(thrown));
    if (refusal !== undefined) throw refusal;
    const gone = reasons.find(isGone);
    if (gone !== undefined) {
      const silent = sites.filter(({ session }) => session?.isOpen !== true).map(({ id }) => id);
      throw new CodedError(
        'SPOKE_UNAVAILABLE',
        `no spoke that answers knows it; ${silent.length > 0 ? silent.join(', ') : 'some spokes'} did not answer`,
        { cause: gone },
      );
    }
    throw reasons[0] ?? new CodedError('NOT_FOUND', 'there is no such thing');
  }

  #done(input: Input, { body, status }: { readonly body: unknown; readonly status: number }): unknown {
    input.status(status);
    return body;
  }
}

/** @param own handlers of the hub's own site */
export function fanOutHandlers(own: readonly Handler[], parts: FanOutParts): readonly Handler[] {
  const fanOut = new FanOut(parts);
  return own.flatMap((each) => {
    const how = FAN_OUT.get(each.contract.name);
    return how === undefined ? [] : [fanOut.handler(each, how)];
  });
}
