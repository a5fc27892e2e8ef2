/** Handlers of moves, drains and evacuations. */
import type { z } from 'zod';
import { API_BASE } from '../core/api/route.ts';
import {
  type BatchItem,
  batchEvents,
  cancelSpoke,
  drainSpoke,
  evacuateSpoke,
  getBatch,
  listMoves,
  type MoveItem,
  type movingReply,
  pushSpoke,
  reassign,
  undrainSpoke,
} from '../core/api/spanner-moves.ts';
import { CodedError } from '../core/base/errors.ts';
import { type EnvoyId, isUuid } from '../core/base/ids.ts';
import { actorOf } from '../server/access/permissions.ts';
import type { ServerParts } from '../server/parts.ts';
import { type Handler, handler } from '../server/rest/handler.ts';
import { page, readCursor, timeText, writeCursor } from '../server/rest/pages.ts';
import { sitePush } from '../server/spanner/kinds/moves.ts';
import type { MoveRow } from '../server/store/moves.ts';
import type { Batches, Progress, Wanted } from './batches.ts';
import { rosterTarget } from './roster-target.ts';
import type { Sites } from './sites.ts';

export function moveItem(move: MoveRow): MoveItem {
  return {
    id: move.id,
    envoy_id: move.envoyId,
    hostname: move.hostname,
    from: move.source,
    to: move.target,
    owner_epoch: move.ownerEpoch,
    phase: move.phase,
    batch: move.job === '' ? null : move.job,
    finished: !move.unfinished,
    error: move.error === '' ? null : move.error,
    message: move.message === '' ? null : move.message,
    started_at: timeText(move.createdAt),
    committed_at: timeText(move.committedAt),
    ended_at: timeText(move.endedAt),
  };
}

function batchItem({ site, error, ...progress }: Progress): BatchItem {
  return { ...progress, spoke: site === '' ? null : site, error: error === '' ? null : error };
}

type Reply = z.input<typeof movingReply>;

export function moveHandlers(hub: { readonly parts: ServerParts; readonly sites: Sites; readonly batches: Batches }): readonly Handler[] {
  const { parts, sites, batches } = hub;
  const { store, clock, trail } = parts;
  const nothing: Reply = { id: null, status: '', batch: null, events: null, moves: null, plan: null, note: null };
  const begun = async (id: string, status: string, note: string | null = null): Promise<Reply> => ({
    ...nothing,
    id,
    status,
    batch: batchItem(await batches.progress(id)),
    events: `${API_BASE}/spanner/batches/${id}/events`,
    moves: `${API_BASE}/spanner/moves?batch=${id}`,
    note,
  });
  const planned = async (wanted: Wanted, note: string | null = null): Promise<Reply> => ({
    ...nothing,
    status: 'planned',
    plan: (await batches.plan(wanted)).map((each) => ({ ...each })),
    note,
  });
  const spoke = (id: string) => {
    const site = sites.get(id);
    if (site === undefined || site.state === 'removed')
      throw new CodedError('NOT_FOUND', `no spoke ${id}`, { hint: 'vigocli spanner spoke list' });
    if (site.own) throw new CodedError('BAD_REQUEST', 'this is the site of the hub itself', { hint: 'move its envoys with reassign' });
    return site;
  };
  /** How old the hub's copy of a site's roster is. */
  const copyAge = async (id: string): Promise<string> => {
    const read = await store.roster.site(id);
    return read === undefined
      ? 'the hub never read the roster of this spoke'
      : `the hub's copy of its roster is ${Math.max(0, Math.round((clock.now() - Math.max(read.heardAt, sites.get(id)?.link.heartbeatAt ?? 0)) / 1000))} s old`;
  };
  /** A drain needs the spoke; one that is dead would wait for ever without a word. */
  const silence = (id: string): string | null => {
    if (sites.get(id)?.own === true || sites.session(id)?.isOpen === true) return null;
    return `${id} is unreachable: its envoys move when it is back; if it is dead for good: vigocli spanner spoke evacuate ${id}`;
  };
  return [
    handler(reassign, async ({ body, principal, requestId }) => {
      const holds = rosterTarget(body.target);
      const envoys: EnvoyId[] = [];
      let there = 0;
      for (let after = ''; ; ) {
        const rows = await store.roster.list({ after }, 500);
        for (const row of rows) {
          if (!holds(row)) continue;
          if (row.ownerSite === body.to) there++;
          else envoys.push(row.envoyId);
        }
        if (rows.length < 500) break;
        after = rows.at(-1)!.envoyId;
      }
      if (envoys.length === 0 && there > 0)
        throw new CodedError('NO_TARGETS', `nothing to move: whom the target matches (${there}) is at ${body.to} already`);
      if (envoys.length === 0)
        throw new CodedError('NO_TARGETS', 'the target matches no envoy', { hint: 'vigocli envoys list; several are separated by commas' });
      const to = body.to === undefined ? [] : [body.to];
      const wanted: Wanted = { kind: 'reassign', site: '', targets: to, envoys, rate: body.max_rate };
      if (body.dry_run) return planned(wanted);
      return begun((await batches.begin(wanted, actorOf(principal), requestId)).id, 'running');
    }),
    handler(listMoves, async ({ query }) => {
      const before = readCursor('moves', query.cursor, 'string', clock.now());
      if (query.envoy !== undefined && !isUuid(query.envoy)) throw new CodedError('BAD_REQUEST', 'the envoy is given by its id');
      const rows = await store.moves.list(
        { unfinished: query.open === true ? true : undefined, job: query.batch, envoyId: query.envoy, before },
        query.limit,
      );
      return page(rows.map(moveItem), rows.length < query.limit ? null : writeCursor('moves', rows.at(-1)!.id, clock.now()));
    }),
    handler(getBatch, async ({ params }) => batchItem(await batches.progress(params.id))),
    handler(batchEvents, async function* ({ params, signal }) {
      for await (const progress of batches.watch(params.id, signal)) yield batchItem(progress);
    }),
    handler(drainSpoke, async ({ params, body, principal, requestId }) => {
      spoke(params.id);
      const wanted: Wanted = {
        kind: 'drain',
        site: params.id,
        targets: body.to,
        rate: body.max_rate,
        deadlineMs: body.deadline_s === undefined ? undefined : body.deadline_s * 1000,
      };
      const note = silence(params.id);
      if (body.dry_run) return planned(wanted, note);
      return begun((await batches.begin(wanted, actorOf(principal), requestId)).id, 'draining', note);
    }),
    handler(undrainSpoke, async ({ params, body, principal, requestId }) => {
      const site = spoke(params.id);
      const row = await batches.undrain(params.id, body.take_back, body.max_rate, actorOf(principal), requestId);
      // a fence goes with the next welcome
      if (site.state === 'evacuated') sites.session(params.id)?.close('the spoke serves again');
      return row === undefined ? { ...nothing, status: 'active' } : begun(row.id, 'active');
    }),
    handler(evacuateSpoke, async ({ params, body, principal, requestId }) => {
      spoke(params.id);
      const wanted: Wanted = { kind: 'evacuate', site: params.id, targets: body.to, rate: body.max_rate ?? '1000/s' };
      const note = await copyAge(params.id);
      if (body.dry_run) return planned(wanted, note);
      if (body.confirm !== params.id)
        throw new CodedError('PRECONDITION_FAILED', `an evacuation is confirmed with the id of the spoke; ${note}`, {
          hint: `--confirm ${params.id}`,
        });
      return begun((await batches.begin(wanted, actorOf(principal), requestId)).id, 'evacuated', note);
    }),
    handler(cancelSpoke, async ({ params, principal, requestId }) => {
      spoke(params.id);
      const [id] = await batches.cancel(params.id, actorOf(principal), requestId);
      const status = sites.get(params.id)?.state ?? '';
      return id === undefined ? { ...nothing, status, note: `nothing ran for ${params.id}` } : begun(id, status);
    }),
    handler(pushSpoke, async ({ params, body, principal, requestId }) => {
      const session = sites.session(params.id);
      if (sites.get(params.id) === undefined)
        throw new CodedError('NOT_FOUND', `no spoke ${params.id}`, { hint: 'vigocli spanner spoke list' });
      if (session === undefined) throw new CodedError('SPOKE_UNAVAILABLE', `${params.id} cannot be reached`);
      await store.transaction((tx) =>
        trail.record(tx, {
          actor: actorOf(principal),
          event: 'envoy.pushed',
          target: { kind: 'spoke', id: params.id },
          outcome: 'ok',
          requestId,
        }),
      );
      const { asked } = await session.request(sitePush, { spread_ms: body.spread_s * 1000 });
      return { id: params.id, status: 'asked' as const, envoys: asked };
    }),
  ];
}
