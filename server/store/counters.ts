/** Numbers that only grow: each change is one statement, so parallel callers never get the same one. */
import { type Kysely, sql } from 'kysely';
import type { Schema } from './schema.ts';
import type { CounterStore } from './store.ts';

export function counterStore(db: Kysely<Schema>, greatest: 'max' | 'greatest'): CounterStore {
  const larger = sql.raw(greatest);
  const inOne = <T>(work: (tx: Kysely<Schema>) => Promise<T>): Promise<T> => (db.isTransaction ? work(db) : db.transaction().execute(work));
  const next = async (in_: Kysely<Schema>, name: string, atLeast: number): Promise<number> => {
    const { rows } = await sql<{ value: number }>`insert into counters (name, value) values (${name}, ${Math.max(1, atLeast)})
      on conflict (name) do update set value = ${larger}(counters.value + 1, excluded.value) returning value`.execute(in_);
    return rows[0]!.value;
  };
  return {
    async get(name) {
      return (await db.selectFrom('counters').select('value').where('name', '=', name).executeTakeFirst())?.value ?? 0;
    },
    next: (name, atLeast = 1) => next(db, name, atLeast),
    async raise(name, value) {
      const { rows } = await sql<{ value: number }>`insert into counters (name, value) values (${name}, ${value})
        on conflict (name) do update set value = ${larger}(counters.value, excluded.value) returning value`.execute(db);
      return rows[0]!.value;
    },
    numberOf: (name, text) =>
      inOne(async (tx) => {
        const known = () => tx.selectFrom('numbered').select('number').where('name', '=', name).where('text', '=', text).executeTakeFirst();
        const before = await known();
        if (before !== undefined) return before.number;
        const number = await next(tx, name, 1);
        // another transaction may have been first: the row it wrote wins, our number is simply skipped
        await tx
          .insertInto('numbered')
          .values({ name, text, number })
          .onConflict((conflict) => conflict.doNothing())
          .execute();
        return (await known())?.number ?? number;
      }),
  };
}
