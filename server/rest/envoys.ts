/** Handlers of envoys. */
import type { z } from 'zod';
import { deleteEnvoy, envoyPolicy, envoyRuns, envoyTraits, getEnvoy, listEnvoys, pushEnvoys, revokeEnvoy } from '../../core/api/envoys.ts';
import { CodedError } from '../../core/base/errors.ts';
import type { EnvoyId } from '../../core/base/ids.ts';
import type { Json } from '../../core/base/json.ts';
import { traitAt } from '../../core/traits/path.ts';
import { actorOf } from '../access/permissions.ts';
import { FLAG } from '../fleet/columns.ts';
import { placeAfter, slotsByName } from '../fleet/name-order.ts';
import { compileTarget, envoyItem, findEnvoy, fingerprint, policyFacts, runItem } from './envoy-rows.ts';
import { type Handler, handler } from './handler.ts';
import { page, readCursor, timeText, writeCursor } from './pages.ts';
import type { RestParts } from './parts.ts';

const RUNS_SHOWN = 10;

async function record(parts: RestParts, name: string) {
  const { fleet, store } = parts;
  const slot = findEnvoy(parts, name);
  const view = fleet.view(slot);
  const row = await store.envoys.byId(view.id);
  if (row === undefined) throw new CodedError('NOT_FOUND', `no envoy ${view.id}`);
  const runs = await store.runs.list({ subject: view.id }, RUNS_SHOWN);
  return {
    ...envoyItem(parts, view, row),
    identity_key_fingerprint: fingerprint(row.identityKey),
    sealing_key_fingerprint: fingerprint(row.sealingKey),
    owner_epoch: row.ownerEpoch,
    enrolled_at: timeText(row.enrolledAt),
    certificate_expires_at: timeText(row.certificateExpiresAt),
    platform: row.platform,
    reason: row.reason,
    streak: view.streak,
    detail: view.detail,
    clean: view.clean,
    policy_hash: view.policyHash,
    secrets_epoch: view.secretsEpoch,
    held_seq: view.heldSeq,
    runs: runs.map(runItem),
  };
}

async function list(parts: RestParts, query: z.output<typeof listEnvoys.query>) {
  const { fleet, clock } = parts;
  const now = clock.now();
  const wanted = query.target === undefined ? () => true : compileTarget(parts, query.target);
  const kind = query.sort === undefined ? 'envoys' : 'envoys by name';
  const order = query.sort === undefined ? undefined : slotsByName(fleet);
  const from = (readCursor(kind, query.cursor, 'number', now) ?? -1) + 1;
  const items = [];
  for (let place = order === undefined ? from : placeAfter(fleet, order, from - 1); place < fleet.size; place++) {
    const slot = order?.[place] ?? place;
    const view = fleet.view(slot);
    if (view.departed) continue;
    if (query.target === undefined && query.state === undefined && !view.active && !view.revoked) continue;
    if (!wanted(slot) || (query.state !== undefined && view.state !== query.state)) continue;
    if (query.release !== undefined && view.release !== query.release) continue;
    if (query.stale === true && (view.flags & (FLAG.stale | FLAG.offline)) === 0) continue;
    if (query.env !== undefined && policyFacts(parts, view.hostname)?.environment !== query.env) continue;
    if (query.role !== undefined && policyFacts(parts, view.hostname)?.roles.includes(query.role) !== true) continue;
    const row = await parts.store.envoys.byId(view.id);
    // deleted since the start: its slot stays until the next one
    if (row === undefined) continue;
    if (query.label !== undefined) {
      const [key = '', value] = query.label.split('=');
      const has = Object.hasOwn(row.labels, key) && (value === undefined || row.labels[key] === value);
      if (!has) continue;
    }
    items.push(envoyItem(parts, view, row));
    if (items.length >= query.limit) return page(items, place + 1 < fleet.size ? writeCursor(kind, slot, now) : null);
  }
  return page(items, null);
}

export function envoyHandlers(parts: RestParts): readonly Handler[] {
  const { fleet, store, trail, clock } = parts;
  return [
    handler(listEnvoys, ({ query }) => list(parts, query)),
    handler(getEnvoy, ({ params }) => record(parts, params.id)),
    handler(revokeEnvoy, async ({ params, body, principal, requestId }) => {
      const slot = findEnvoy(parts, params.id);
      const { id, hostname, revoked } = fleet.view(slot);
      if (!revoked) {
        await store.transaction(async (tx) => {
          await tx.envoys.setStatus(id, 'revoked', body.reason);
          await trail.record(tx, {
            actor: actorOf(principal),
            event: 'envoy.revoked',
            target: { kind: 'envoy', id, name: hostname },
            outcome: 'ok',
            requestId,
            data: { reason: body.reason },
          });
        });
        fleet.revoke(slot);
        parts.dropConnections(id);
        parts.metrics.count('vigo_revocations_total', 1);
      }
      return { id, status: 'revoked' as const };
    }),
    handler(
      deleteEnvoy,
      async ({ params, principal, requestId }) => {
        const slot = findEnvoy(parts, params.id);
        const { id, hostname, revoked } = fleet.view(slot);
        if (!revoked) throw new CodedError('STILL_ACTIVE', `${hostname} is not revoked`, { hint: 'vigocli envoys revoke' });
        await store.transaction(async (tx) => {
          await tx.traits.remove(id);
          await tx.envoys.remove(id);
          await trail.record(tx, {
            actor: actorOf(principal),
            event: 'envoy.deleted',
            target: { kind: 'envoy', id, name: hostname },
            outcome: 'ok',
            requestId,
            data: {},
          });
        });
        return { id, status: 'deleted' as const };
      },
      ({ params }) => record(parts, params.id),
    ),
    handler(pushEnvoys, async ({ body, principal, requestId }) => {
      if ((body.target === undefined) === (body.all !== true)) throw new CodedError('BAD_REQUEST', 'give either a target or all');
      const matches = compileTarget(parts, body.target ?? '@all');
      const slots = [...fleet.slots()].filter((slot) => matches(slot));
      if (slots.length === 0) throw new CodedError('NO_TARGETS', 'the target matches nobody');
      await store.transaction((tx) =>
        trail.record(tx, {
          actor: actorOf(principal),
          event: 'envoy.pushed',
          target: { kind: 'target', id: body.target ?? '@all' },
          outcome: 'ok',
          requestId,
          data: { envoys: slots.length },
        }),
      );
      const envoys = slots.map((slot) => {
        fleet.forcePush(slot);
        const { id, hostname } = fleet.view(slot);
        return { id, hostname, status: parts.push(id) ? ('pushed' as const) : ('queued' as const) };
      });
      const pushed = envoys.filter(({ status }) => status === 'pushed').length;
      return { pushed, queued: envoys.length - pushed, envoys: envoys.slice(0, 1000) };
    }),
    handler(envoyTraits, async ({ params, query }) => {
      const { id, hostname, lastSeen } = fleet.view(findEnvoy(parts, params.id));
      const held = await store.traits.of(id as EnvoyId);
      const whole: Readonly<Record<string, Json>> = held?.traits ?? {};
      const traits = query.path === undefined ? whole : traitAt(whole, query.path);
      if (traits === undefined) throw new CodedError('NOT_FOUND', `${hostname} has no trait ${query.path}`);
      return {
        id,
        hostname,
        hash: held?.hash ?? '',
        age_s: lastSeen > 0 ? Math.max(0, Math.round((clock.now() - lastSeen) / 1000)) : null,
        traits: traits as never,
      };
    }),
    handler(envoyRuns, async ({ params, query }) => {
      const { id } = fleet.view(findEnvoy(parts, params.id));
      const before = readCursor(`runs ${id}`, query.cursor, 'number', clock.now());
      const runs = await store.runs.list({ subject: id, before }, query.limit);
      const last = runs.length === query.limit ? runs.at(-1) : undefined;
      return page(runs.map(runItem), last === undefined ? null : writeCursor(`runs ${id}`, last.position, clock.now()));
    }),
    handler(envoyPolicy, ({ params }) => {
      const { id, hostname } = fleet.view(findEnvoy(parts, params.id));
      const { live } = parts.releases;
      if (live === undefined) throw new CodedError('NOT_READY', 'no release is live');
      const policy = parts.releases.policyOf(hostname);
      if (policy === undefined) throw new CodedError('NOT_FOUND', `no entry of release ${live.number} matches ${hostname}`);
      return { id, hostname, release: live.number, body: JSON.parse(Buffer.from(policy.body).toString('utf8')) };
    }),
  ];
}
