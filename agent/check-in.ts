/** One check-in: says what is held, sends the traits that changed, takes the answer. */
import type { Clock } from '../core/base/clock.ts';
import { canonicalBytes } from '../core/base/json.ts';
import type { Logger } from '../core/base/log.ts';
import { BODY_SCHEMA } from '../core/policy/body.ts';
import { sha256Hex } from '../core/policy/bundle.ts';
import { deltaOf, type Traits, traitsHash } from '../core/traits/delta.ts';
import type { CheckIn, CheckInReply, ServerLink } from './link/server-link.ts';
import { type HeaderAge, type IntakeParts, isOlderThan, isStale, takeReply } from './policy-intake.ts';
import type { StateStore } from './state/state-store.ts';

export interface CheckInParts extends IntakeParts {
  readonly link: ServerLink;
  readonly dryRun: boolean;
  /** monotonic age of the held header within this process, 0 when it came before */
  headerAgeMs(): number;
}

interface AgeParts {
  readonly state: StateStore;
  readonly clock: Clock;
  readonly headerAgeMs: () => number;
}

function ageOf({ state, clock, headerAgeMs }: AgeParts): HeaderAge {
  return { now: clock.now(), offsetMs: state.facts.get('clockSkewMs') ?? 0, monotonicMs: headerAgeMs() };
}

/** True when the held header is past its life. */
export function heldIsStale(parts: AgeParts): boolean {
  const held = parts.state.policy.held();
  return held !== undefined && isStale(held, ageOf(parts));
}

/** Less than a third of the header's life is left. */
function wantsRenewal(parts: AgeParts): boolean {
  const held = parts.state.policy.held();
  return held !== undefined && isOlderThan(2 / 3, held, ageOf(parts));
}

function flagsOf(parts: CheckInParts): string[] {
  const { facts } = parts.state;
  const flags: [string, boolean][] = [
    ['stale', heldIsStale(parts)],
    ['clock_skew', (facts.get('clockSkewMs') ?? 0) !== 0],
    ['equivocation', facts.get('bundleRejected') === 'equivocation' || facts.get('ownerEquivocation') === true],
  ];
  return flags.filter(([, on]) => on).map(([name]) => name);
}

function messageOf(parts: CheckInParts, traits: Traits, base: Traits | undefined): CheckIn {
  const { state } = parts;
  const held = state.policy.held();
  return {
    release: held?.header.release ?? 0,
    bodySchema: held?.body === undefined ? 0 : BODY_SCHEMA,
    policyHash: held?.body?.policyHash ?? '',
    heldHeaderHash: held?.headerHash ?? '',
    heldSeq: held?.header.seq ?? 0,
    secretsEpoch: held?.body?.body.secrets_epoch ?? 0,
    traits: deltaOf(base, traits),
    pendingResults: state.results.count(),
    mode: parts.dryRun ? 'dry_run' : 'enforce',
    flags: flagsOf(parts),
    authorityHash: sha256Hex(state.facts.get('authority') ?? ''),
    renew: wantsRenewal(parts),
    bundleRejected: state.facts.get('bundleRejected') ?? '',
  };
}

/** Servers refuse a larger set; a machine with too much to tell leaves out its largest parts rather than its check-in. */
const MAX_TRAITS_BYTES = 1024 * 1024;

function fitting(traits: Traits, log: Logger): Traits {
  const sizes = Object.entries(traits).map(([name, value]) => ({ name, bytes: canonicalBytes(value).length + name.length + 4 }));
  sizes.sort((a, b) => a.bytes - b.bytes);
  let left = sizes.reduce((sum, { bytes }) => sum + bytes, 2);
  const omitted = new Set<string>();
  while (left > MAX_TRAITS_BYTES) {
    const { name, bytes } = sizes.pop()!;
    left -= bytes;
    omitted.add(name);
    log.warn('a trait is too large to be sent', { collector: name, bytes });
  }
  return omitted.size === 0 ? traits : Object.fromEntries(Object.entries(traits).filter(([name]) => !omitted.has(name)));
}

/** @throws CodedError what the link throws; BUNDLE_REJECTED leaves the held policy as it was */
export async function checkIn(parts: CheckInParts, collected: Traits, signal: AbortSignal): Promise<CheckInReply> {
  const { state, link, clock } = parts;
  const traits = fitting(collected, parts.log);
  let base = state.traits.last()?.traits;
  for (;;) {
    const flagged = state.facts.get('ownerEquivocation') === true;
    const reply = await link.checkIn(messageOf(parts, traits, base), signal);
    if (flagged) await state.facts.set('ownerEquivocation', false);
    await state.traits.keep({ traits, hash: traitsHash(traits), collectedAt: clock.now() });
    await state.facts.set('nextMs', reply.hints.nextMs);
    await state.facts.set('jitterPct', reply.hints.jitterPct);
    await state.facts.set('clockSkewMs', Math.abs(link.clockOffsetMs) > 300_000 ? link.clockOffsetMs : 0);
    await takeReply(reply, link.clockOffsetMs, parts);
    // the server does not know the base of the delta: once more with everything
    if (!reply.hints.fullTraits || base === undefined) return reply;
    base = undefined;
  }
}
