/** All migrations, in order. Forward only: a published one is never edited. */
import { first } from './0001-first.ts';
import { moves } from './0004-moves.ts';
import type { Migration } from './migration.ts';

export const migrations: readonly Migration[] = [first, moves];
