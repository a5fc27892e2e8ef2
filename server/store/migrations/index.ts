/** All migrations, in order. Forward only: a published one is never edited. */
import { first } from './0001-first.ts';
import { sites } from './0002-sites.ts';
import { ownership } from './0003-ownership.ts';
import { moves } from './0004-moves.ts';
import { sync } from './0005-sync.ts';
import { permits } from './0006-permits.ts';
import type { Migration } from './migration.ts';

export const migrations: readonly Migration[] = [first, sites, ownership, moves, sync, permits];
