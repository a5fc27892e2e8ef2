/** Answers of all sites as one: sums, unions, and what each site said. */
import type { z } from 'zod';
import type { pushEnvoys } from '../../core/api/envoys.ts';
import type { fleetSummary } from '../../core/api/fleet.ts';
import type { secretRefs } from '../../core/api/secrets.ts';
import { CodedError } from '../../core/base/errors.ts';
import { isComplete, type SiteAnswer } from './ask.ts';

type Summary = z.output<typeof fleetSummary.reply>;
type Push = z.output<typeof pushEnvoys.reply>;
type Refs = z.output<typeof secretRefs.reply>;

const MAX_PUSHED_SHOWN = 1000;

function bodies<T>(answers: readonly SiteAnswer[]): { readonly spoke: SiteAnswer['spoke']; readonly body: T }[] {
  return answers.flatMap(({ spoke, body }) => (body === undefined ? [] : [{ spoke, body: body as T }]));
}

function add(into: Record<string, number>, counts: Readonly<Record<string, number>>): void {
  for (const [name, count] of Object.entries(counts)) into[name] = (into[name] ?? 0) + count;
}

/** Counts of the sites that answered; a site that did not is named and counts nowhere: never a stale "healthy". */
export function combinedSummary(answers: readonly SiteAnswer[]): Summary {
  const states: Record<string, number> = {};
  const releases: Record<string, number> = {};
  const sum = { envoys: 0, pending: 0, revoked: 0, unmatched: 0, live_release: 0 };
  for (const { body } of bodies<Summary>(answers)) {
    add(states, body.states);
    add(releases, body.releases);
    for (const name of ['envoys', 'pending', 'revoked', 'unmatched'] as const) sum[name] += body[name];
    sum.live_release = Math.max(sum.live_release, body.live_release);
  }
  return {
    ...sum,
    states,
    releases,
    converged_pct: sum.envoys === 0 ? null : Math.floor(((states['converged'] ?? 0) * 10_000) / sum.envoys) / 100,
    complete: isComplete(answers),
    spokes: answers.map(({ spoke, body }) => {
      const own = body as Summary | undefined;
      return own === undefined
        ? spoke
        : { ...spoke, envoys: own.envoys, states: own.states, converged_pct: own.converged_pct, live_release: own.live_release };
    }),
  };
}

/** A target may match at some sites only; that it matches nowhere is an error of all. */
export function combinedPush(answers: readonly SiteAnswer[]): Push {
  const matched = answers.filter(({ refusal }) => refusal?.code !== 'NO_TARGETS');
  if (matched.length === 0) throw new CodedError('NO_TARGETS', 'the target matches nobody');
  const all = bodies<Push>(matched).map(({ body }) => body);
  return {
    pushed: all.reduce((sum, { pushed }) => sum + pushed, 0),
    queued: all.reduce((sum, { queued }) => sum + queued, 0),
    envoys: all.flatMap(({ envoys }) => envoys).slice(0, MAX_PUSHED_SHOWN),
    complete: isComplete(matched),
    spokes: answers.map(({ spoke, refusal }) =>
      refusal?.code === 'NO_TARGETS' ? { id: spoke.id, status: spoke.status, age_s: spoke.age_s } : spoke,
    ),
  };
}

/** A reference is missing when any site cannot resolve it. */
export function combinedRefs(answers: readonly SiteAnswer[]): Refs {
  const refs = new Map<string, Refs['items'][number] & { missing_at: string[] }>();
  for (const { spoke, body } of bodies<Refs>(answers))
    for (const item of body.items) {
      const known = refs.get(item.ref) ?? { ...item, missing: false, missing_at: [] };
      refs.set(item.ref, {
        ...known,
        entries: [...new Set([...known.entries, ...item.entries])],
        missing: known.missing || item.missing,
        missing_at: item.missing ? [...known.missing_at, spoke.id] : known.missing_at,
      });
    }
  return {
    items: [...refs.values()].sort((a, b) => (a.ref < b.ref ? -1 : 1)),
    complete: isComplete(answers),
    spokes: answers.map(({ spoke }) => spoke),
  };
}
