/** What a hub does with each route that is about the fleet: one row a route, nothing is guessed. */

import type { SiteAnswer } from './ask.ts';
import { combinedPush, combinedRefs, combinedSummary } from './combine.ts';
import type { Order } from './merge.ts';

type Row = Readonly<Record<string, unknown>>;

export type How =
  /** lists of all sites as one list; `sorted`: what the sites are asked to order by */
  | { readonly kind: 'list'; readonly order: Order; readonly sorted?: Row }
  /** answers of all sites as one answer */
  | { readonly kind: 'combine'; combine(answers: readonly SiteAnswer[]): unknown }
  /** the site that owns the envoy named by this parameter */
  | { readonly kind: 'owner'; readonly param: string; readonly in: 'params' | 'query' }
  /** whichever site has the thing of this id: ids of things other than envoys are nobody's to route by */
  | { readonly kind: 'any' };

const text = (row: Row, name: string): string => String(row[name] ?? '');
const upwards =
  (...names: readonly string[]) =>
  (a: Row, b: Row): number => {
    for (const name of names) {
      const [left, right] = [text(a, name), text(b, name)];
      if (left !== right) return left < right ? -1 : 1;
    }
    return 0;
  };
const downwards = (...names: readonly string[]) => {
  const up = upwards(...names);
  return (a: Row, b: Row): number => up(b, a);
};
const byId = (row: Row): string => text(row, 'id');

export const FAN_OUT: ReadonlyMap<string, How> = new Map<string, How>([
  ['enrollments.approve', { kind: 'any' }],
  ['enrollments.pending', { kind: 'list', order: { compare: upwards('requested_at'), key: byId } }],
  ['enrollments.reject', { kind: 'any' }],
  ['envoys.delete', { kind: 'owner', param: 'id', in: 'params' }],
  ['envoys.get', { kind: 'owner', param: 'id', in: 'params' }],
  ['envoys.list', { kind: 'list', order: { compare: upwards('hostname', 'spoke'), key: byId }, sorted: { sort: 'hostname' } }],
  ['envoys.policy', { kind: 'owner', param: 'id', in: 'params' }],
  ['envoys.push', { kind: 'combine', combine: combinedPush }],
  ['envoys.revoke', { kind: 'owner', param: 'id', in: 'params' }],
  ['envoys.runs', { kind: 'owner', param: 'id', in: 'params' }],
  ['envoys.traits', { kind: 'owner', param: 'id', in: 'params' }],
  ['fleet.summary', { kind: 'combine', combine: combinedSummary }],
  ['runs.get', { kind: 'any' }],
  ['runs.list', { kind: 'list', order: { compare: downwards('received_at'), key: (row) => `${text(row, 'envoy_id')} ${byId(row)}` } }],
  ['secrets.refs', { kind: 'combine', combine: combinedRefs }],
  ['tokens.get', { kind: 'any' }],
  ['tokens.list', { kind: 'list', order: { compare: downwards('id'), key: byId } }],
  ['tokens.revoke', { kind: 'any' }],
]);
