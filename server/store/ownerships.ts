/** Who came, who went, and by which grant; an envoy that was enrolled here and never moved has no row. */
import type { Kysely } from 'kysely';
import type { EnvoyId } from '../../core/base/ids.ts';
import type { Schema } from './schema.ts';

/** `arriving` prepared, not ours yet · `arrived` ours, not seen yet · `confirming` seen, the hub does not know yet · `owned` · `departed` another site's, the grant leads there */
export const OWNERSHIP_STATES = ['arriving', 'arrived', 'confirming', 'owned', 'departed'] as const;
export type OwnershipState = (typeof OWNERSHIP_STATES)[number];

export interface OwnershipRow {
  readonly envoyId: EnvoyId;
  readonly state: OwnershipState;
  readonly ownerEpoch: number;
  /** JSON of the signed grant; empty while arriving */
  readonly grant: string;
  /** JSON of the identity record while arriving, else empty */
  readonly record: string;
  /** milliseconds since 1970 */
  readonly at: number;
}

export interface OwnershipStore {
  of(envoyId: EnvoyId): Promise<OwnershipRow | undefined>;
  put(row: OwnershipRow): Promise<void>;
  remove(envoyId: EnvoyId): Promise<void>;
  inState(state: OwnershipState): Promise<readonly OwnershipRow[]>;
  /** 0 without any */
  highestEpoch(): Promise<number>;
  /** small facts of the site: `fenced` */
  fact(name: string): Promise<string | undefined>;
  setFact(name: string, value: string): Promise<void>;
}

export function ownershipStore(db: Kysely<Schema>): OwnershipStore {
  const toRow = (row: Schema['ownerships']): OwnershipRow => ({
    envoyId: row.envoy_id as EnvoyId,
    state: row.state as OwnershipState,
    ownerEpoch: row.owner_epoch,
    grant: row.granted,
    record: row.record,
    at: row.at,
  });
  return {
    async of(envoyId) {
      const row = await db.selectFrom('ownerships').selectAll().where('envoy_id', '=', envoyId).executeTakeFirst();
      return row === undefined ? undefined : toRow(row);
    },
    async put({ envoyId, state, ownerEpoch, grant, record, at }) {
      const columns = { state, owner_epoch: ownerEpoch, granted: grant, record, at };
      await db
        .insertInto('ownerships')
        .values({ envoy_id: envoyId, ...columns })
        .onConflict((conflict) => conflict.column('envoy_id').doUpdateSet(columns))
        .execute();
    },
    async remove(envoyId) {
      await db.deleteFrom('ownerships').where('envoy_id', '=', envoyId).execute();
    },
    async inState(state) {
      return (await db.selectFrom('ownerships').selectAll().where('state', '=', state).orderBy('envoy_id').execute()).map(toRow);
    },
    async highestEpoch() {
      const row = await db
        .selectFrom('ownerships')
        .select(({ fn }) => fn.max('owner_epoch').as('highest'))
        .executeTakeFirst();
      return Number(row?.highest ?? 0);
    },
    async fact(name) {
      return (await db.selectFrom('site_facts').select('value').where('name', '=', name).executeTakeFirst())?.value;
    },
    async setFact(name, value) {
      await db
        .insertInto('site_facts')
        .values({ name, value })
        .onConflict((conflict) => conflict.column('name').doUpdateSet({ value }))
        .execute();
    },
  };
}
