/** Asks all sites at once, or one; a site that does not answer costs no more than its own deadline, and the answer says so. */
import type { z } from 'zod';
import type { RouteContract } from '../../core/api/route.ts';
import type { Clock } from '../../core/base/clock.ts';
import { CodedError, messageOf } from '../../core/base/errors.ts';
import { parseForeignJson } from '../../core/base/json.ts';
import type { Principal } from '../../server/access/permissions.ts';
import type { Metrics } from '../../server/observe/metrics.ts';
import type { HandlerInput } from '../../server/rest/handler.ts';
import { type askerSchema, query } from '../../server/spanner/kinds/query.ts';
import type { LinkSession } from '../../server/spanner/link.ts';

/** A site as fan-out sees it. */
export interface AskedSite {
  readonly id: string;
  readonly session: LinkSession | undefined;
  /** milliseconds since 1970 of the last sign of life; 0: never */
  readonly heardAt: number;
}

export interface AskParts {
  sites(): readonly AskedSite[];
  deadlineMs(): number;
  /** most bytes of one site's answer, and of all answers to one question */
  readonly maxBytes: number;
  readonly maxTotalBytes: number;
  readonly metrics?: Metrics | undefined;
  readonly clock: Clock;
}

export type Input = HandlerInput<unknown, unknown, unknown>;

/** As lists and sums say it. */
export interface SpokeStatus {
  readonly id: string;
  readonly status: 'answered' | 'timed_out' | 'offline';
  /** age of what it answers from; of a silent site, since it was heard last */
  readonly age_s: number | null;
  readonly error?: string;
}

export interface SiteAnswer {
  readonly spoke: SpokeStatus;
  readonly body: unknown;
  /** it answered, with this refusal */
  readonly refusal?: CodedError | undefined;
}

/** What is sent of a question: parsed input back in the form of a URL. */
function texts(value: unknown): Record<string, string> {
  const given = Object.entries((value ?? {}) as Readonly<Record<string, unknown>>);
  return Object.fromEntries(given.flatMap(([name, member]) => (member === undefined ? [] : [[name, String(member)]])));
}

/** Who asks, as a site is told. */
export function askerOf({ kind, id, name, role, permissions, address, claimedBy }: Principal): z.input<typeof askerSchema> {
  if (kind === 'envoy') throw new CodedError('PERMISSION_DENIED', 'an envoy asks no fleet');
  return { kind, id, name, role, permissions: [...permissions], address, ...(claimedBy === undefined ? {} : { claimedBy }) };
}

/** Flags of the hub alone. */
const HUB_ONLY = ['spoke', 'require_complete'];

export class Asking {
  readonly #parts: AskParts;

  constructor(parts: AskParts) {
    this.#parts = parts;
  }

  get sites(): readonly AskedSite[] {
    return this.#parts.sites();
  }

  #question(contract: RouteContract, input: Input, changed: Readonly<Record<string, unknown>>, part: 'answer' | 'current') {
    const asked = { ...(input.query as object), ...changed } as Record<string, unknown>;
    for (const flag of HUB_ONLY) delete asked[flag];
    return {
      route: contract.name,
      params: texts(input.params),
      query: texts(asked),
      body: (input.body ?? {}) as z.input<typeof query.request>['body'],
      part,
      principal: askerOf(input.principal),
      request_id: input.requestId,
      max_bytes: this.#parts.maxBytes,
    };
  }

  /** @throws CodedError SPOKE_UNAVAILABLE without a link, DEADLINE, and what the site answers */
  async one(
    site: AskedSite,
    contract: RouteContract,
    input: Input,
    more: { readonly query?: Readonly<Record<string, unknown>>; readonly part?: 'answer' | 'current' } = {},
  ): Promise<{ readonly body: unknown; readonly bytes: number; readonly status: number }> {
    if (site.session === undefined || !site.session.isOpen)
      throw new CodedError('SPOKE_UNAVAILABLE', `there is no link to the spoke ${site.id}`, {
        hint: `${site.heardAt > 0 ? `last heard ${new Date(site.heardAt).toISOString()}; ` : ''}vigocli spanner spoke show ${site.id}`,
        details: { spoke: site.id },
      });
    const question = this.#question(contract, input, more.query ?? {}, more.part ?? 'answer');
    const { body, data } = await site.session.requestData(query, question, { deadlineMs: this.#parts.deadlineMs(), signal: input.signal });
    if ((data?.byteLength ?? 0) > this.#parts.maxBytes)
      throw new CodedError('TOO_LARGE', `the answer of ${site.id} is larger than ${this.#parts.maxBytes} bytes`);
    return { body: read(site.id, contract, data, more.part ?? 'answer'), bytes: data?.byteLength ?? 0, status: body.status };
  }

  /** All of them at once; never throws for a site that fails. `changed`: members of the query that differ by site, undefined leaves a site out. */
  async all(
    contract: RouteContract,
    input: Input,
    sites: readonly AskedSite[],
    changed: (site: AskedSite) => Readonly<Record<string, unknown>> | undefined = () => ({}),
  ): Promise<readonly SiteAnswer[]> {
    const { clock, metrics, maxTotalBytes } = this.#parts;
    let total = 0;
    const answer = async (site: AskedSite): Promise<readonly SiteAnswer[]> => {
      const differs = changed(site);
      if (differs === undefined) return [];
      const silence = site.heardAt > 0 ? Math.max(0, Math.round((clock.now() - site.heardAt) / 1000)) : null;
      if (site.session?.isOpen !== true) {
        metrics?.count('vigo_fanout_incomplete_total', 1, { spoke: site.id });
        return [{ spoke: { id: site.id, status: 'offline', age_s: silence }, body: undefined }];
      }
      const begun = clock.monotonic();
      try {
        const { body, bytes } = await this.one(site, contract, input, { query: differs });
        total += bytes;
        if (total > maxTotalBytes)
          throw new CodedError('TOO_LARGE', 'the answers of all spokes are too large together; ask for less with --limit');
        return [{ spoke: { id: site.id, status: 'answered', age_s: 0 }, body }];
      } catch (thrown) {
        const code = thrown instanceof CodedError ? thrown.code : 'INTERNAL';
        if (code === 'DEADLINE' || code === 'SPOKE_UNAVAILABLE') {
          metrics?.count('vigo_fanout_incomplete_total', 1, { spoke: site.id });
          return [{ spoke: { id: site.id, status: code === 'DEADLINE' ? 'timed_out' : 'offline', age_s: silence }, body: undefined }];
        }
        const refusal = thrown instanceof CodedError ? thrown : new CodedError('INTERNAL', messageOf(thrown));
        return [{ spoke: { id: site.id, status: 'answered', age_s: 0, error: `${refusal.message} [${code}]` }, body: undefined, refusal }];
      } finally {
        metrics?.observe('vigo_fanout_seconds', (clock.monotonic() - begun) / 1000, { spoke: site.id });
      }
    };
    return (await Promise.all(sites.map(answer))).flat();
  }
}

/** What a site sent, when it is an answer to the question: what is merged and summed must have its shape, or one site spoils the answer of all. */
function read(id: string, contract: RouteContract, data: Uint8Array | undefined, part: 'answer' | 'current'): unknown {
  let body: unknown;
  try {
    body = parseForeignJson(Buffer.from(data ?? 'null').toString('utf8'));
  } catch (cause) {
    throw new CodedError('INTERNAL', `${id} answered ${contract.name} with what is no JSON`, { cause });
  }
  if (part === 'current') return body;
  const parsed = contract.reply.safeParse(body);
  if (!parsed.success) throw new CodedError('INTERNAL', `${id} answered ${contract.name} in an unknown shape`, { cause: parsed.error });
  return parsed.data;
}

/** Everybody that was asked answered, and without a refusal. */
export function isComplete(answers: readonly SiteAnswer[]): boolean {
  return answers.every(({ spoke, refusal }) => spoke.status === 'answered' && refusal === undefined);
}
