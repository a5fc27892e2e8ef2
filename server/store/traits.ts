/** Traits: one row per envoy and collector, merged from deltas in batches off the check-in path. */
import { type Kysely, sql } from 'kysely';
import type { EnvoyId } from '../../core/base/ids.ts';
import type { Json } from '../../core/base/json.ts';
import type { Schema } from './schema.ts';
import type { TraitsChange, TraitsStore } from './store.ts';

const PAGE = 1000;
/** rows in one statement: three parameters each */
const CHUNK = 500;

interface Merge {
  readonly hashes: Map<EnvoyId, string>;
  /** undefined: the row goes away */
  readonly cells: Map<EnvoyId, Map<string, string | undefined>>;
  /** envoys whose old rows all go first */
  readonly cleared: Set<EnvoyId>;
  readonly unknownBase: Set<EnvoyId>;
}

/** Applies the deltas in order, in memory: one set of statements however many deltas an envoy has in the batch. */
function planMerge(batch: readonly TraitsChange[], stored: ReadonlyMap<string, string>, known: ReadonlySet<string>): Merge {
  const merge: Merge = { hashes: new Map(), cells: new Map(), cleared: new Set(), unknownBase: new Set() };
  for (const change of batch) {
    const id = change.envoyId;
    if (!known.has(id)) continue;
    if (change.full) {
      merge.cleared.add(id);
      merge.cells.set(id, new Map());
      merge.unknownBase.delete(id);
    } else if (merge.unknownBase.has(id) || (merge.hashes.get(id) ?? stored.get(id)) !== change.baseHash) {
      merge.unknownBase.add(id);
      continue;
    }
    const cells = merge.cells.get(id) ?? new Map<string, string | undefined>();
    merge.cells.set(id, cells);
    for (const name of change.removed) cells.set(name, undefined);
    for (const [name, value] of Object.entries(change.set)) cells.set(name, JSON.stringify(value));
    merge.hashes.set(id, change.hash);
  }
  return merge;
}

function chunks<T>(items: readonly T[]): T[][] {
  return Array.from({ length: Math.ceil(items.length / CHUNK) }, (_, index) => items.slice(index * CHUNK, (index + 1) * CHUNK));
}

export function traitsStore(db: Kysely<Schema>): TraitsStore {
  const inOne = <T>(work: (tx: Kysely<Schema>) => Promise<T>): Promise<T> => (db.isTransaction ? work(db) : db.transaction().execute(work));
  return {
    mergeBatch: (batch) =>
      inOne(async (tx) => {
        const stored = new Map<string, string>();
        const known = new Set<string>();
        for (const ids of chunks([...new Set(batch.map((change) => change.envoyId))])) {
          const rows = await tx
            .selectFrom('envoys')
            .leftJoin('trait_sets', 'trait_sets.envoy_id', 'envoys.id')
            .select(['envoys.id', 'trait_sets.hash'])
            .where('envoys.id', 'in', ids)
            .execute();
          for (const row of rows) {
            known.add(row.id);
            if (row.hash !== null) stored.set(row.id, row.hash);
          }
        }
        const merge = planMerge(batch, stored, known);
        for (const ids of chunks([...merge.cleared])) await tx.deleteFrom('traits').where('envoy_id', 'in', ids).execute();
        const cells = [...merge.cells].flatMap(([envoy_id, of]) => [...of].map(([collector, value]) => ({ envoy_id, collector, value })));
        const written = cells.filter((cell): cell is typeof cell & { value: string } => cell.value !== undefined);
        for (const cell of cells) {
          if (cell.value !== undefined || merge.cleared.has(cell.envoy_id)) continue;
          await tx.deleteFrom('traits').where('envoy_id', '=', cell.envoy_id).where('collector', '=', cell.collector).execute();
        }
        for (const rows of chunks(written))
          await tx
            .insertInto('traits')
            .values(rows)
            .onConflict((conflict) => conflict.columns(['envoy_id', 'collector']).doUpdateSet({ value: sql`excluded.value` }))
            .execute();
        for (const rows of chunks([...merge.hashes].map(([envoy_id, hash]) => ({ envoy_id, hash }))))
          await tx
            .insertInto('trait_sets')
            .values(rows)
            .onConflict((conflict) => conflict.column('envoy_id').doUpdateSet({ hash: sql`excluded.hash` }))
            .execute();
        return [...merge.unknownBase];
      }),
    async of(envoyId) {
      const set = await db.selectFrom('trait_sets').select('hash').where('envoy_id', '=', envoyId).executeTakeFirst();
      if (set === undefined) return undefined;
      const rows = await db
        .selectFrom('traits')
        .select(['collector', 'value'])
        .where('envoy_id', '=', envoyId)
        .orderBy('collector')
        .execute();
      return { hash: set.hash, traits: Object.fromEntries(rows.map((row) => [row.collector, JSON.parse(row.value) as Json])) };
    },
    async *collector(name) {
      let after = '';
      for (;;) {
        const rows = await db
          .selectFrom('traits')
          .select(['envoy_id', 'value'])
          .where('collector', '=', name)
          .where('envoy_id', '>', after)
          .orderBy('envoy_id')
          .limit(PAGE)
          .execute();
        for (const row of rows) yield { envoyId: row.envoy_id as EnvoyId, value: JSON.parse(row.value) as Json };
        if (rows.length < PAGE) return;
        after = rows.at(-1)!.envoy_id;
      }
    },
    async remove(envoyId) {
      await inOne(async (tx) => {
        await tx.deleteFrom('traits').where('envoy_id', '=', envoyId).execute();
        await tx.deleteFrom('trait_sets').where('envoy_id', '=', envoyId).execute();
      });
    },
  };
}
