/** The delegations of a spoke as its row keeps them: those that have not run out, newest first. */
import type { Delegation, SignedRecord } from '../core/crypto/delegation.ts';
import type { SiteRow } from './sites.ts';

export function delegationsOf({ delegation }: Pick<SiteRow, 'delegation'>): readonly SignedRecord[] {
  return delegation === '' ? [] : (JSON.parse(delegation) as SignedRecord[]);
}

/** Of records that this hub's root has signed. */
export function datesOf({ record }: SignedRecord): Pick<Delegation, 'not_before' | 'not_after'> {
  return JSON.parse(record) as Delegation;
}

export function serialOf({ record }: SignedRecord): string {
  return (JSON.parse(record) as Delegation).serial;
}
