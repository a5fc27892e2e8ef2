/** Envoys: identity in one table, what check-ins change in another, written in one statement a batch. */
import { type Kysely, sql } from 'kysely';
import { CodedError } from '../../core/base/errors.ts';
import type { EnvoyId } from '../../core/base/ids.ts';
import { noRuns } from '../fleet/convergence.ts';
import { duplicateOf, isDuplicate } from './failures.ts';
import type { DialectName } from './migrations/migration.ts';
import { logChange } from './roster.ts';
import type { Schema } from './schema.ts';
import type { EnvoyIdentity, EnvoyRow, EnvoyStore, EnvoyVolatile } from './store.ts';

const PAGE = 1000;

/** Volatile columns and their SQL types: one list for the batch statement and for reading. */
const COLUMNS = {
  id: 'text',
  sequence: 'bigint',
  last_seen: 'bigint',
  release: 'bigint',
  policy_hash: 'text',
  secrets_epoch: 'bigint',
  held_seq: 'bigint',
  held_header_hash: 'text',
  traits_hash: 'text',
  flags: 'bigint',
  run_state: 'text',
  detail: 'text',
  streak: 'bigint',
  reset_pending: 'bigint',
  drift: 'text',
  clean: 'bigint',
  counted_policy: 'text',
  counted_epoch: 'bigint',
  counted_at: 'bigint',
} as const satisfies Record<keyof Schema['envoy_state'], 'text' | 'bigint'>;
const NAMES = Object.keys(COLUMNS);

function toState(envoy: EnvoyVolatile): Schema['envoy_state'] {
  return {
    id: envoy.id,
    sequence: envoy.sequence,
    last_seen: envoy.lastSeen,
    release: envoy.release,
    policy_hash: envoy.policyHash,
    secrets_epoch: envoy.secretsEpoch,
    held_seq: envoy.heldSeq,
    held_header_hash: envoy.heldHeaderHash,
    traits_hash: envoy.traitsHash,
    flags: envoy.flags,
    run_state: envoy.runState,
    detail: envoy.detail,
    streak: envoy.streak,
    reset_pending: envoy.resetPending ? 1 : 0,
    drift: envoy.drift,
    clean: envoy.clean ? 1 : 0,
    counted_policy: envoy.countedPolicy,
    counted_epoch: envoy.countedEpoch,
    counted_at: envoy.countedAt,
  };
}

type Joined = Schema['envoys'] & { [K in Exclude<keyof Schema['envoy_state'], 'id'>]: Schema['envoy_state'][K] | null };

function toRow(row: Joined): EnvoyRow {
  const fresh = noRuns();
  return {
    id: row.id as EnvoyId,
    hostname: row.hostname,
    identityKey: row.identity_key,
    sealingKey: row.sealing_key,
    status: row.status as EnvoyRow['status'],
    ownerEpoch: row.owner_epoch,
    enrolledAt: row.enrolled_at,
    certificateExpiresAt: row.certificate_expires_at,
    platform: row.platform,
    agentVersion: row.agent_version,
    address: row.address,
    labels: JSON.parse(row.labels) as EnvoyRow['labels'],
    reason: row.reason,
    sequence: row.sequence ?? 0,
    lastSeen: row.last_seen ?? 0,
    release: row.release ?? 0,
    policyHash: row.policy_hash ?? '',
    secretsEpoch: row.secrets_epoch ?? 0,
    heldSeq: row.held_seq ?? 0,
    heldHeaderHash: row.held_header_hash ?? '',
    traitsHash: row.traits_hash ?? '',
    flags: row.flags ?? 0,
    runState: (row.run_state as EnvoyRow['runState'] | null) ?? fresh.runState,
    detail: (row.detail as EnvoyRow['detail'] | null) ?? fresh.detail,
    streak: row.streak ?? fresh.streak,
    resetPending: row.reset_pending === null ? fresh.resetPending : row.reset_pending === 1,
    drift: (row.drift as EnvoyRow['drift'] | null) ?? fresh.drift,
    clean: row.clean === null ? fresh.clean : row.clean === 1,
    countedPolicy: row.counted_policy ?? '',
    countedEpoch: row.counted_epoch ?? 0,
    countedAt: row.counted_at ?? 0,
  };
}

function toColumns(change: Partial<EnvoyIdentity>): Partial<Schema['envoys']> {
  const { sealingKey, status, ownerEpoch, enrolledAt, certificateExpiresAt, platform, agentVersion, address, labels, reason } = change;
  const all = {
    sealing_key: sealingKey === undefined ? undefined : Buffer.from(sealingKey),
    status,
    owner_epoch: ownerEpoch,
    enrolled_at: enrolledAt,
    certificate_expires_at: certificateExpiresAt,
    platform,
    agent_version: agentVersion,
    address,
    labels: labels === undefined ? undefined : JSON.stringify(labels),
    reason,
  };
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined));
}

/** The whole batch travels as one JSON parameter: a fifth of the time of a statement a row, and one shape to prepare. */
function saveStatement(dialect: DialectName, batch: readonly EnvoyVolatile[]) {
  const json = JSON.stringify(batch.map(toState));
  const columns = sql.raw(NAMES.join(', '));
  const updates = sql.raw(
    NAMES.slice(1)
      .map((name) => `${name} = excluded.${name}`)
      .join(', '),
  );
  const source =
    dialect === 'postgres'
      ? sql`jsonb_to_recordset(${json}::jsonb) as batch(${sql.raw(
          Object.entries(COLUMNS)
            .map(([name, type]) => `${name} ${type}`)
            .join(', '),
        )})`
      : sql`(select ${sql.raw(NAMES.map((name) => `value ->> '$.${name}' as ${name}`).join(', '))} from json_each(${json})) as batch`;
  return sql`insert into envoy_state (${columns}) select ${columns} from ${source}
    where exists (select 1 from envoys where envoys.id = batch.id) on conflict (id) do update set ${updates}`;
}

export function envoyStore(db: Kysely<Schema>, dialect: DialectName): EnvoyStore {
  const joined = () =>
    db
      .selectFrom('envoys')
      .leftJoin('envoy_state', 'envoy_state.id', 'envoys.id')
      .selectAll('envoys')
      .select(NAMES.slice(1).map((name) => `envoy_state.${name}` as 'envoy_state.sequence'));
  const logged = <T>(work: (tx: Kysely<Schema>) => Promise<T>): Promise<T> =>
    db.isTransaction ? work(db) : db.transaction().execute(work);
  const change = async (id: EnvoyId, columns: Partial<Schema['envoys']>): Promise<boolean> => {
    try {
      return await logged(async (tx) => {
        const [result] = await tx.updateTable('envoys').set(columns).where('id', '=', id).execute();
        if ((result?.numUpdatedRows ?? 0n) === 0n) return false;
        await logChange(tx, id);
        return true;
      });
    } catch (thrown) {
      if (isDuplicate(thrown)) throw new CodedError('HOSTNAME_TAKEN', 'another active envoy has this hostname', { cause: thrown });
      throw thrown;
    }
  };
  return {
    async insert(envoy) {
      const key = Buffer.from(envoy.identityKey);
      try {
        await logged(async (tx) => {
          // an envoy that comes back to a site it left brings the key that it had
          const mine = await tx.selectFrom('identity_keys').select('envoy_id').where('key', '=', key).executeTakeFirst();
          if (mine?.envoy_id !== envoy.id) await tx.insertInto('identity_keys').values({ key, envoy_id: envoy.id }).execute();
          await tx
            .insertInto('envoys')
            .values({ ...(toColumns(envoy) as Schema['envoys']), id: envoy.id, hostname: envoy.hostname, identity_key: key })
            .execute();
          await logChange(tx, envoy.id);
        });
      } catch (thrown) {
        if (!isDuplicate(thrown)) throw thrown;
        const which = duplicateOf(thrown);
        if (/identity_keys/.test(which))
          throw new CodedError('KEY_ALREADY_ENROLLED', 'this identity key was enrolled before', { cause: thrown });
        throw new CodedError('HOSTNAME_TAKEN', `an active envoy has the hostname ${envoy.hostname}`, { cause: thrown });
      }
    },
    async *all() {
      let after = '';
      for (;;) {
        const rows = await joined().where('envoys.id', '>', after).orderBy('envoys.id').limit(PAGE).execute();
        for (const row of rows) yield toRow(row as unknown as Joined);
        if (rows.length < PAGE) return;
        after = rows.at(-1)!.id;
      }
    },
    async byId(id) {
      const row = await joined().where('envoys.id', '=', id).executeTakeFirst();
      return row === undefined ? undefined : toRow(row as unknown as Joined);
    },
    async byKey(identityKey) {
      const row = await joined()
        .where('identity_key', '=', Buffer.from(identityKey))
        .orderBy('enrolled_at', 'desc')
        .limit(1)
        .executeTakeFirst();
      return row === undefined ? undefined : toRow(row as unknown as Joined);
    },
    async byHostname(hostname) {
      const row = await joined()
        .where('hostname', '=', hostname)
        .orderBy(sql`case when status = 'active' then 0 else 1 end`)
        .orderBy('enrolled_at', 'desc')
        .orderBy('envoys.id', 'desc')
        .limit(1)
        .executeTakeFirst();
      return row === undefined ? undefined : toRow(row as unknown as Joined);
    },
    async saveBatch(batch) {
      if (batch.length > 0) await saveStatement(dialect, batch).execute(db);
    },
    update: (id, wanted) => change(id, toColumns(wanted)),
    setStatus: (id, status, reason) => change(id, { status, reason }),
    async remove(id) {
      return logged(async (tx) => {
        const [result] = await tx.deleteFrom('envoys').where('id', '=', id).execute();
        if ((result?.numDeletedRows ?? 0n) === 0n) return false;
        await logChange(tx, id);
        return true;
      });
    },
  };
}
