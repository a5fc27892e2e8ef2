/** Lets the hub follow finished runs: it asks for what came after its cursor and waits a while for the next. */
import { randomBytes } from 'node:crypto';
import type { Json } from '../../../core/base/json.ts';
import { requirePermission } from '../../access/permissions.ts';
import { compileTarget } from '../../rest/envoy-rows.ts';
import type { RestParts } from '../../rest/parts.ts';
import { finishedItem } from '../../rest/runs.ts';
import { runsTail } from '../kinds/query.ts';
import { type Answer, answers } from '../link.ts';
import { principalOf } from './query.ts';

/** A follower that is further behind loses the oldest. */
const KEPT = 1000;

export function answerRunsTail(parts: Pick<RestParts, 'fleet' | 'intake' | 'store' | 'releases' | 'identity'>): Answer {
  const life = randomBytes(6).toString('hex');
  const kept: { readonly seq: number; readonly slot: number; readonly item: ReturnType<typeof finishedItem> }[] = [];
  const waiting = new Set<() => void>();
  let newest = 0;
  parts.intake.onRun((run) => {
    newest += 1;
    kept.push({ seq: newest, slot: parts.fleet.slotOf(run.envoyId), item: finishedItem(run) });
    if (kept.length > KEPT) kept.shift();
    for (const wake of waiting) wake();
  });
  const next = (ms: number, signal: AbortSignal) =>
    new Promise<void>((resolve) => {
      const done = () => {
        clearTimeout(timer);
        signal.removeEventListener('abort', done);
        waiting.delete(done);
        resolve();
      };
      const timer = setTimeout(done, ms);
      signal.addEventListener('abort', done);
      waiting.add(done);
    });
  return answers(runsTail, async ({ cursor, target, wait_ms: waitMs, principal }, { signal }) => {
    requirePermission(principalOf(principal), 'fleet.read');
    const matches = target === undefined ? () => true : compileTarget(parts, target);
    const [of = '', seen = '0'] = (cursor ?? '').split(':');
    // a cursor of an earlier life of this server begins anew
    let from = of === life ? Number(seen) : newest;
    if (cursor === undefined) return { cursor: `${life}:${newest}`, items: [] };
    const end = performance.now() + waitMs;
    for (;;) {
      const fresh = kept.filter(({ seq }) => seq > from);
      from = Math.max(from, newest);
      const items = fresh.filter(({ slot }) => matches(slot)).map(({ item }) => item as Json);
      const left = end - performance.now();
      if (items.length > 0 || left <= 0 || signal.aborted) return { cursor: `${life}:${from}`, items: items as never };
      await next(left, signal);
    }
  });
}
