/** Metrics: text form, bounded labels, and the store that measures itself. */
import { expect, test } from '@jest/globals';
import { CodedError } from '../../core/base/errors.ts';
import type { Store } from '../store/store.ts';
import { withMetrics } from '../store/with-metrics.ts';
import { createMetrics, METRICS } from './metrics.ts';

test('every metric has the prefix, a help text, and appears under its name', async () => {
  const metrics = createMetrics();
  const text = await metrics.text();
  for (const [name, { help }] of Object.entries(METRICS)) {
    expect(name).toMatch(/^vigo_[a-z_]+$/);
    expect(text).toContain(`# HELP ${name} ${help}`);
  }
  expect(text).toContain('process_cpu_seconds_total');
  expect(metrics.contentType).toContain('text/plain');
});

test('counts, sets and observes with labels', async () => {
  const metrics = createMetrics({ process: false });
  metrics.count('vigo_checkins_total', 2, { status: 'no_change' });
  metrics.count('vigo_replays_total', 1);
  metrics.observe('vigo_checkin_duration_seconds', 0.0002, { status: 'no_change' });
  metrics.onCollect(() => metrics.set('vigo_envoys_state', 7, { state: 'converged' }));
  const text = await metrics.text();
  expect(text).toContain('vigo_checkins_total{status="no_change"} 2');
  expect(text).toContain('vigo_replays_total 1');
  expect(text).toContain('vigo_checkin_duration_seconds_bucket{le="0.00025",status="no_change"} 1');
  expect(text).toContain('vigo_envoys_state{state="converged"} 7');
});

test('nothing that a client sends makes a series', async () => {
  const metrics = createMetrics({ process: false });
  metrics.count('vigo_checkins_total', 1, { status: 'evil"} 1\nvigo_x' });
  metrics.count('vigo_signature_failures_total', 1, { code: 'x y' });
  for (let route = 0; route < 2000; route += 1)
    metrics.count('vigo_http_requests_total', 1, { route: `/r${route}`, method: 'BREW', status: 200 });
  const text = await metrics.text();
  expect(text).toContain('vigo_checkins_total{status="other"} 1');
  expect(text).toContain('vigo_signature_failures_total{code="other"} 1');
  expect(text).toContain('vigo_http_requests_total{route="other",method="other",status="200"} 1500');
  expect(text.match(/^vigo_http_requests_total\{/gm)).toHaveLength(501);
});

test('a measured store answers as before, and counts time and failures', async () => {
  const metrics = createMetrics({ process: false });
  const failing = async () => Promise.reject(new CodedError('STORE_FULL', 'full'));
  const plain = {
    counters: { get: async (name: string) => name.length, next: failing },
    transaction: async (work: (tx: unknown) => Promise<unknown>) => work({ counters: { get: async () => 5 } }),
  } as unknown as Store;
  const store = withMetrics(plain, metrics);
  expect(await store.counters.get('abc')).toBe(3);
  await expect(store.counters.next('x')).rejects.toMatchObject({ code: 'STORE_FULL' });
  expect(await store.transaction((tx) => tx.counters.get('abc'))).toBe(5);
  const text = await metrics.text();
  expect(text).toContain('vigo_database_query_seconds_count{statement="read"} 2');
  expect(text).toContain('vigo_database_query_seconds_count{statement="transaction"} 1');
  expect(text).toContain('vigo_database_errors_total{kind="STORE_FULL"} 1');
});
