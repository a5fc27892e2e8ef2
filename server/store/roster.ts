/** The roster: what changed at this site, by number, and at a hub the copy of all sites. */
import { type Kysely, sql } from 'kysely';
import type { EnvoyId } from '../../core/base/ids.ts';
import type { Schema } from './schema.ts';

/** Called by the envoy store in the transaction of every change of an identity, so that no caller can forget it. */
export async function logChange(tx: Kysely<Schema>, id: string): Promise<void> {
  // the counter's row is locked until the end of the transaction: numbers become visible in their order
  const { rows } = await sql<{ value: number }>`insert into counters (name, value) values ('roster_seq', 1)
    on conflict (name) do update set value = counters.value + 1 returning value`.execute(tx);
  const seq = rows[0]!.value;
  await tx
    .insertInto('roster_log')
    .values({ envoy_id: id, seq })
    .onConflict((conflict) => conflict.column('envoy_id').doUpdateSet({ seq }))
    .execute();
}

/** At every site. */
export interface RosterLogStore {
  /** the number of the newest change */
  head(): Promise<number>;
  /** what changed after a number, each envoy once, in order */
  list(after: number, limit: number): Promise<readonly { readonly envoyId: EnvoyId; readonly seq: number }[]>;
  /** for what is told to the hub but kept outside of the envoy's identity */
  changed(envoyId: EnvoyId): Promise<void>;
}

export function rosterLogStore(db: Kysely<Schema>): RosterLogStore {
  return {
    async head() {
      return (await db.selectFrom('counters').select('value').where('name', '=', 'roster_seq').executeTakeFirst())?.value ?? 0;
    },
    async list(after, limit) {
      const rows = await db.selectFrom('roster_log').selectAll().where('seq', '>', after).orderBy('seq').limit(limit).execute();
      return rows.map(({ envoy_id: envoyId, seq }) => ({ envoyId: envoyId as EnvoyId, seq }));
    },
    async changed(envoyId) {
      if (db.isTransaction) await logChange(db, envoyId);
      else await db.transaction().execute((tx) => logChange(tx, envoyId));
    },
  };
}

/** One envoy of the fleet, as the hub knows it. */
export interface RosterRow {
  readonly envoyId: EnvoyId;
  readonly hostname: string;
  /** as at its site, and `removed` */
  readonly status: string;
  readonly ownerSite: string;
  readonly ownerEpoch: number;
  /** ever seen or given out: the next one lies above */
  readonly highestEpoch: number;
  /** JSON of the signed grant; empty while it is where it enrolled */
  readonly grant: string;
  /** JSON of the identity part of its record */
  readonly identity: string;
  readonly heardAt: number;
}

/** How far the hub has read a site's log. */
export interface RosterSite {
  readonly siteId: string;
  /** of the site: a restored one counts anew */
  readonly epoch: number;
  readonly seq: number;
  readonly heardAt: number;
}

/** Of no site's concern any more. */
const GONE = ['removed', 'revoked'] as const;

/** At a hub. */
export interface RosterStore {
  byId(envoyId: EnvoyId): Promise<RosterRow | undefined>;
  /** live ones of a hostname */
  byHostname(hostname: string): Promise<readonly RosterRow[]>;
  put(row: RosterRow): Promise<void>;
  /** remembers an epoch that was given out or heard of */
  raise(envoyId: EnvoyId, highestEpoch: number): Promise<void>;
  highestEpoch(): Promise<number>;
  /** in order of id, all but the removed and revoked; of one site when it is named */
  list(options: { readonly site?: string | undefined; readonly after?: string | undefined }, limit: number): Promise<readonly RosterRow[]>;
  /** as many as {@link list} has */
  count(site: string): Promise<number>;
  countAll(): Promise<number>;
  site(siteId: string): Promise<RosterSite | undefined>;
  putSite(site: RosterSite): Promise<void>;
}

function toRow(row: Schema['roster']): RosterRow {
  return {
    envoyId: row.envoy_id as EnvoyId,
    hostname: row.hostname,
    status: row.status,
    ownerSite: row.owner_site,
    ownerEpoch: row.owner_epoch,
    highestEpoch: row.highest_epoch,
    grant: row.signed_grant,
    identity: row.identity,
    heardAt: row.heard_at,
  };
}

export function rosterStore(db: Kysely<Schema>): RosterStore {
  const counted = async (site?: string): Promise<number> => {
    let query = db
      .selectFrom('roster')
      .select((of) => of.fn.countAll<number>().as('count'))
      .where('status', 'not in', GONE);
    if (site !== undefined) query = query.where('owner_site', '=', site);
    return Number((await query.executeTakeFirst())?.count ?? 0);
  };
  return {
    async byId(envoyId) {
      const row = await db.selectFrom('roster').selectAll().where('envoy_id', '=', envoyId).executeTakeFirst();
      return row === undefined ? undefined : toRow(row);
    },
    async byHostname(hostname) {
      const rows = await db.selectFrom('roster').selectAll().where('hostname', '=', hostname).where('status', 'not in', GONE).execute();
      return rows.map(toRow);
    },
    async put(row) {
      const columns = {
        hostname: row.hostname,
        status: row.status,
        owner_site: row.ownerSite,
        owner_epoch: row.ownerEpoch,
        highest_epoch: row.highestEpoch,
        signed_grant: row.grant,
        identity: row.identity,
        heard_at: row.heardAt,
      };
      await db
        .insertInto('roster')
        .values({ envoy_id: row.envoyId, ...columns })
        .onConflict((conflict) => conflict.column('envoy_id').doUpdateSet(columns))
        .execute();
    },
    async raise(envoyId, highestEpoch) {
      await db
        .updateTable('roster')
        .set({ highest_epoch: highestEpoch })
        .where('envoy_id', '=', envoyId)
        .where('highest_epoch', '<', highestEpoch)
        .execute();
    },
    async highestEpoch() {
      const row = await db
        .selectFrom('roster')
        .select((of) => of.fn.max('highest_epoch').as('most'))
        .executeTakeFirst();
      return Number(row?.most ?? 0);
    },
    async list({ site, after }, limit) {
      let query = db
        .selectFrom('roster')
        .selectAll()
        .where('status', 'not in', GONE)
        .where('envoy_id', '>', after ?? '');
      if (site !== undefined) query = query.where('owner_site', '=', site);
      return (await query.orderBy('envoy_id').limit(limit).execute()).map(toRow);
    },
    count: counted,
    countAll: () => counted(),
    async site(siteId) {
      const row = await db.selectFrom('roster_sites').selectAll().where('site_id', '=', siteId).executeTakeFirst();
      return row === undefined ? undefined : { siteId, epoch: row.epoch, seq: row.seq, heardAt: row.heard_at };
    },
    async putSite({ siteId, epoch, seq, heardAt }) {
      await db
        .insertInto('roster_sites')
        .values({ site_id: siteId, epoch, seq, heard_at: heardAt })
        .onConflict((conflict) => conflict.column('site_id').doUpdateSet({ epoch, seq, heard_at: heardAt }))
        .execute();
    },
  };
}
