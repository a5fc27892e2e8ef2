/** Measures every call of a store: how long, and what failed. */
import { CodedError } from '../../core/base/errors.ts';
import type { Metrics } from '../observe/metrics.ts';
import type { Store, Tables } from './store.ts';

/** Reads by name; everything else counts as a write. */
const READS = /^(all|by|list|of|head|read|count|get|newest|collector)/;
/** parts that are no calls into the database */
const OTHER = new Set(['transaction', 'snapshot', 'sizeBytes', 'close']);

type Call = (...args: unknown[]) => unknown;

function measured(metrics: Metrics, statement: 'read' | 'write' | 'transaction', call: Call): Call {
  return (...args) => {
    const begin = performance.now();
    const result = call(...args);
    if (!(result instanceof Promise)) return result; // streams read page by page
    return result.then(
      (value: unknown) => {
        metrics.observe('vigo_database_query_seconds', (performance.now() - begin) / 1000, { statement });
        return value;
      },
      (error: unknown) => {
        metrics.count('vigo_database_errors_total', 1, { kind: error instanceof CodedError ? error.code : 'other' });
        throw error;
      },
    );
  };
}

function measuredTables(metrics: Metrics, tables: Tables): Tables {
  const narrow = Object.entries(tables)
    .filter(([name]) => !OTHER.has(name))
    .map(([name, store]) => {
      const calls = Object.entries(store as Record<string, Call>).map(([method, call]) => {
        return [method, measured(metrics, READS.test(method) ? 'read' : 'write', call)];
      });
      return [name, Object.fromEntries(calls)];
    });
  return Object.fromEntries(narrow) as Tables;
}

export function withMetrics(store: Store, metrics: Metrics): Store {
  const transaction = measured(metrics, 'transaction', (work) =>
    store.transaction((tx) => (work as (tx: Tables) => Promise<unknown>)(measuredTables(metrics, tx))),
  );
  return {
    ...measuredTables(metrics, store),
    transaction: transaction as Store['transaction'],
    snapshot: store.snapshot,
    sizeBytes: store.sizeBytes,
    close: store.close,
  };
}
