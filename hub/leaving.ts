/** When a spoke may be emptied: it is in the right state, and every envoy has somewhere to go. */
import { CodedError } from '../core/base/errors.ts';
import type { MoveSites } from './move-ports.ts';

/** @throws CodedError NOT_FOUND, PRECONDITION_FAILED */
export function assertMayLeave({ kind, site }: { readonly kind: string; readonly site: string }, sites: MoveSites): void {
  const now = sites.get(site);
  if (now === undefined || now.state === 'removed')
    throw new CodedError('NOT_FOUND', `no spoke ${site}`, { hint: 'vigocli spanner spoke list' });
  if (kind === 'drain' && now.state !== 'active') throw new CodedError('PRECONDITION_FAILED', `${site} is ${now.state}, not active`);
  if (kind === 'evacuate' && sites.session(site) !== undefined)
    throw new CodedError('PRECONDITION_FAILED', `${site} is linked and answers`, { hint: `vigocli spanner spoke drain ${site}` });
  if (kind === 'evacuate' && now.state !== 'active' && now.state !== 'draining')
    throw new CodedError('PRECONDITION_FAILED', `${site} is ${now.state}`);
}

/** Nothing is begun that cannot end. @throws CodedError NO_ROUTE naming the first of those that fit no other spoke */
export function assertRouted(site: string, planned: readonly { readonly hostname: string; readonly to: string | null }[]): void {
  const lost = planned.filter(({ to }) => to === null);
  if (lost.length === 0) return;
  const names = lost.slice(0, 5).map(({ hostname }) => hostname);
  throw new CodedError(
    'NO_ROUTE',
    `${lost.length} of ${planned.length} envoys of ${site} fit no other spoke: ${names.join(', ')}${lost.length > 5 ? ', …' : ''}`,
    {
      hint: 'name who takes them with --to, or give another spoke a pattern that fits',
    },
  );
}
