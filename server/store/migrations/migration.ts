/** What a migration is. */
import type { Kysely } from 'kysely';

export type DialectName = 'sqlite' | 'postgres';

export interface Migration {
  readonly name: string;
  up(db: Kysely<unknown>, dialect: DialectName): Promise<void>;
}
