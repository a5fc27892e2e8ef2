/** Handlers of waiting enrolments, and the two calls of agents. */
import { type EnrollRequest, enroll, renew } from '../../core/api/enroll.ts';
import { approveEnrollment, listPending, rejectEnrollment } from '../../core/api/enrollments.ts';
import { CodedError } from '../../core/base/errors.ts';
import { isUuid } from '../../core/base/ids.ts';
import { actorOf } from '../access/permissions.ts';
import type { EnrollResult } from '../enroll/creation.ts';
import type { EnvoyRow } from '../store/store.ts';
import { fingerprint } from './envoy-rows.ts';
import { type Handler, handler } from './handler.ts';
import { page, readCursor, timeText, writeCursor } from './pages.ts';
import type { RestParts } from './parts.ts';

const POLL_AFTER_S = 5;

async function waiting(parts: RestParts, id: string): Promise<EnvoyRow> {
  const row = isUuid(id) ? await parts.store.envoys.byId(id) : undefined;
  if (row?.status !== 'pending')
    throw new CodedError('NOT_FOUND', `no enrolment ${id.slice(0, 80)} waits`, { hint: 'vigocli envoys pending' });
  return row;
}

/** The live envoy that holds the hostname, if it is another one. */
function holderOf(parts: RestParts, row: EnvoyRow): number | undefined {
  const slot = parts.fleet.slotOfHostname(row.hostname);
  if (slot < 0) return undefined;
  const view = parts.fleet.view(slot);
  return view.active && view.id !== row.id ? slot : undefined;
}

async function keyOf(parts: RestParts, slot: number | undefined): Promise<string | null> {
  if (slot === undefined) return null;
  const row = await parts.store.envoys.byId(parts.fleet.view(slot).id);
  return row === undefined ? null : fingerprint(row.identityKey);
}

/** @param by who enrols: the site itself, or what its role puts in front */
export function enrollHandler(
  { metrics }: Pick<RestParts, 'metrics'>,
  by: { enroll(request: EnrollRequest, address: string): Promise<EnrollResult> },
): Handler {
  return handler(enroll, async ({ body, address, status }) => {
    const result = await by.enroll(body, address).catch((thrown: unknown) => {
      metrics.count('vigo_enrollments_total', 1, { result: thrown instanceof CodedError ? thrown.code : 'INTERNAL' });
      throw thrown;
    });
    metrics.count('vigo_enrollments_total', 1, { result: result.status });
    if (result.status === 'enrolled') return result.reply;
    status(202);
    return { enrollment_id: result.enrollmentId, poll_after_s: POLL_AFTER_S };
  });
}

export function enrollmentHandlers(parts: RestParts): readonly Handler[] {
  const { fleet, store, trail, clock } = parts;
  return [
    enrollHandler(parts, parts.enrollment),
    handler(renew, ({ body, address }) => parts.renew(body, address)),
    handler(listPending, async ({ query }) => {
      const from = (readCursor('pending', query.cursor, 'number', clock.now()) ?? -1) + 1;
      const items = [];
      for (let slot = from; slot < fleet.size; slot++) {
        const view = fleet.view(slot);
        if (view.active || view.revoked) continue;
        const row = await store.envoys.byId(view.id);
        if (row?.status !== 'pending') continue;
        items.push({
          id: row.id,
          hostname: row.hostname,
          address: row.address,
          fingerprint: fingerprint(row.identityKey),
          held_by_fingerprint: await keyOf(parts, holderOf(parts, row)),
          reason: row.reason,
          requested_at: timeText(row.enrolledAt),
        });
        if (items.length >= query.limit) return page(items, writeCursor('pending', slot, clock.now()));
      }
      return page(items, null);
    }),
    handler(approveEnrollment, async ({ params, body, principal, requestId }) => {
      const row = await waiting(parts, params.id);
      const holder = holderOf(parts, row);
      const key = fingerprint(row.identityKey);
      const forced = body.force_key_fingerprint?.toLowerCase().replaceAll(':', '');
      if (holder !== undefined && forced !== key) {
        throw new CodedError('HOSTNAME_TAKEN', `a live envoy holds ${row.hostname}`, {
          hint: `compare the key at the machine, then repeat with --force-key ${key}: the live envoy is revoked then`,
        });
      }
      if (forced !== undefined && forced !== key) throw new CodedError('BAD_REQUEST', 'the fingerprint is not that of the waiting key');
      const replaced = holder === undefined ? undefined : fleet.view(holder).id;
      await store.transaction(async (tx) => {
        if (replaced !== undefined) {
          await tx.envoys.setStatus(replaced, 'revoked', `replaced by ${row.id}`);
          await trail.record(tx, {
            actor: actorOf(principal),
            event: 'envoy.revoked',
            target: { kind: 'envoy', id: replaced, name: row.hostname },
            outcome: 'ok',
            requestId,
            data: { replaced_by: row.id },
          });
        }
        await tx.envoys.setStatus(row.id, 'active', '');
        await trail.record(tx, {
          actor: actorOf(principal),
          event: 'envoy.approved',
          target: { kind: 'envoy', id: row.id, name: row.hostname },
          outcome: 'ok',
          requestId,
          data: { key_fingerprint: key },
        });
      });
      if (holder !== undefined && replaced !== undefined) {
        fleet.revoke(holder);
        parts.dropConnections(replaced);
      }
      fleet.assignEntry(fleet.insert({ ...row, status: 'active' }), parts.releases.entryOf(row.hostname));
      return { id: row.id, hostname: row.hostname, status: 'active' as const, replaced: replaced ?? null };
    }),
    handler(rejectEnrollment, async ({ params, body, principal, requestId }) => {
      const row = await waiting(parts, params.id);
      const reason = body.reason ?? 'rejected';
      await store.transaction(async (tx) => {
        await tx.envoys.setStatus(row.id, 'revoked', reason);
        await trail.record(tx, {
          actor: actorOf(principal),
          event: 'envoy.rejected',
          target: { kind: 'envoy', id: row.id, name: row.hostname },
          outcome: 'ok',
          requestId,
          data: { reason },
        });
      });
      const slot = fleet.slotOf(row.id);
      if (slot >= 0) fleet.revoke(slot);
      return { id: row.id, hostname: row.hostname, status: 'rejected' as const };
    }),
  ];
}
