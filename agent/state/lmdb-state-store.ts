/** The state store on LMDB: every commit is on disk before its promise resolves. */
import { mkdirSync, statfsSync } from 'node:fs';
import { type Database, open, type RootDatabase } from 'lmdb';
import { z } from 'zod';
import { bodySchema } from '../../core/policy/body.ts';
import { sha256Hex } from '../../core/policy/bundle.ts';
import { classOf, type RunReport, runReportSchema } from '../../core/policy/outcome.ts';
import { assertIntactLmdb, stateFailure, storeFull } from './lmdb-file.ts';
import {
  type Facts,
  type HeldPolicy,
  type KeptSecrets,
  type PendingTrigger,
  type StateStore,
  sealedSecretsSchema,
  type TraitsRecord,
} from './state-store.ts';

const heldSchema = z.object({
  header: z.looseObject({ seq: z.number(), release: z.number() }),
  headerHash: z.string(),
  body: z.object({ sha256: z.string(), policyHash: z.string(), text: z.string() }).nullable(),
  receivedAt: z.number(),
});
const triggersSchema = z.array(z.object({ module: z.string(), resource: z.string(), by: z.array(z.string()) }));
const traitsSchema = z.object({ traits: z.record(z.string(), z.json()), hash: z.string(), collectedAt: z.number() });

/** Stays free: pages are copied before they are changed. */
const ROOM_BYTES = 1024 * 1024;

/** Rows of the result queue: arrival number → report and what the overflow rule needs. */
interface QueuedRun {
  readonly report: RunReport;
  readonly bytes: number;
  readonly allOk: boolean;
}

class LmdbStateStore implements StateStore {
  readonly #root: RootDatabase<string, string>;
  readonly #results: Database<string, number>;
  readonly #dir: string;
  #held: HeldPolicy | undefined;

  constructor(dir: string) {
    this.#dir = dir;
    this.#root = open<string, string>({
      path: dir,
      noSubdir: false,
      encoding: 'string',
      maxDbs: 4,
      overlappingSync: false,
      mapSize: 256 * 1024 * 1024,
    });
    this.#results = this.#root.openDB<string, number>({ name: 'results', encoding: 'string', keyEncoding: 'uint32' });
    this.#held = this.#readHeld();
  }

  #read<T>(key: string, schema: z.ZodType<T>): T | undefined {
    try {
      const text = this.#root.get(key);
      return text === undefined ? undefined : schema.parse(JSON.parse(text));
    } catch (thrown) {
      throw stateFailure(this.#dir, thrown);
    }
  }

  async #write(entries: Readonly<Record<string, string | undefined>>): Promise<void> {
    const bytes = Object.values(entries).reduce((sum, value) => sum + (value?.length ?? 0), 0);
    await this.#change(bytes, () => {
      for (const [key, value] of Object.entries(entries)) {
        if (value === undefined) this.#root.removeSync(key);
        else this.#root.putSync(key, value);
      }
    });
  }

  #readHeld(): HeldPolicy | undefined {
    const row = this.#read('policy', heldSchema);
    if (row === undefined) return undefined;
    try {
      if (row.body !== null && sha256Hex(row.body.text) !== row.body.sha256) throw new Error('the cached policy does not have its hash');
      const body = row.body === null ? undefined : { ...row.body, body: bodySchema.parse(JSON.parse(row.body.text)) };
      return { header: row.header as unknown as HeldPolicy['header'], headerHash: row.headerHash, body, receivedAt: row.receivedAt };
    } catch (thrown) {
      throw stateFailure(this.#dir, thrown);
    }
  }

  readonly policy: StateStore['policy'] = {
    held: () => this.#held,
    keep: async (policy) => {
      const body =
        policy.body === undefined ? null : { sha256: policy.body.sha256, policyHash: policy.body.policyHash, text: policy.body.text };
      await this.#write({
        policy: JSON.stringify({ header: policy.header, headerHash: policy.headerHash, body, receivedAt: policy.receivedAt }),
      });
      this.#held = policy;
    },
  };

  readonly facts: StateStore['facts'] = {
    get: <K extends keyof Facts>(name: K) => this.#read(`fact:${name}`, z.unknown()) as Facts[K] | undefined,
    set: async (name, value) => this.#write({ [`fact:${name}`]: JSON.stringify(value) }),
  };

  readonly traits: StateStore['traits'] = {
    last: () => this.#read('traits', traitsSchema) as TraitsRecord | undefined,
    keep: async (record) => this.#write({ traits: JSON.stringify(record) }),
  };

  readonly triggers: StateStore['triggers'] = {
    pending: () => (this.#read('triggers', triggersSchema) ?? []) as readonly PendingTrigger[],
    keep: async (triggers) => this.#write({ triggers: triggers.length === 0 ? undefined : JSON.stringify(triggers) }),
  };

  readonly secrets: StateStore['secrets'] = {
    kept: () => this.#read('secrets', sealedSecretsSchema),
    keep: async (secrets: KeptSecrets | undefined) => this.#write({ secrets: secrets === undefined ? undefined : JSON.stringify(secrets) }),
  };

  readonly memory: StateStore['memory'] = {
    get: (key) => this.#read(`memory:${key}`, z.string()),
    set: async (key, value) => this.#write({ [`memory:${key}`]: value === undefined ? undefined : JSON.stringify(value) }),
  };

  readonly results: StateStore['results'] = {
    queue: async (report, limits) => this.#queue(report, limits),
    pending: (limit, maxBytes) => {
      const runs: RunReport[] = [];
      let bytes = 0;
      for (const { value } of this.#results.getRange({ limit })) {
        const queued = this.#parse(value);
        if (runs.length > 0 && bytes + queued.bytes > maxBytes) break;
        bytes += queued.bytes;
        runs.push(queued.report);
      }
      return runs;
    },
    forget: async (runIds) => {
      const wanted = new Set(runIds);
      const keys: number[] = [];
      for (const { key, value } of this.#results.getRange({})) if (wanted.has(this.#parse(value).report.run_id)) keys.push(key);
      await this.#change(0, () => {
        for (const key of keys) this.#results.removeSync(key);
      });
    },
    count: () => this.#results.getCount({}),
  };

  #parse(text: string): QueuedRun {
    try {
      const report = runReportSchema.parse(JSON.parse(text));
      return {
        report,
        bytes: Buffer.byteLength(text),
        allOk: report.outcomes.every(({ action }) => classOf(action) === 'ok' || classOf(action) === 'neutral'),
      };
    } catch (thrown) {
      throw stateFailure(this.#dir, thrown);
    }
  }

  /**
   * One durable commit, made while the caller waits: it takes a few milliseconds, a few times a cycle. The queued commits of lmdb reject promises that nobody
   * holds when the disk is full, and any commit that finds it full damages the memory of the process: so the room is looked at before.
   */
  async #change(bytes: number, work: () => void): Promise<void> {
    try {
      const { bavail, bsize } = statfsSync(this.#dir);
      if (bavail * bsize < ROOM_BYTES + 4 * bytes) throw storeFull(this.#dir, `${bavail * bsize} bytes are free`);
      this.#root.transactionSync(work);
    } catch (thrown) {
      throw stateFailure(this.#dir, thrown);
    }
  }

  async #queue(report: RunReport, limits: { readonly maxRuns: number; readonly maxBytes: number }): Promise<void> {
    const text = JSON.stringify(report);
    const rows = [...this.#results.getRange({})].map(({ key, value }) => ({ key, bytes: Buffer.byteLength(value), value }));
    let count = rows.length + 1;
    let bytes = rows.reduce((sum, row) => sum + row.bytes, Buffer.byteLength(text));
    const dropped: number[] = [];
    if (count > limits.maxRuns || bytes > limits.maxBytes) {
      // the oldest all-ok runs go first, then the oldest others
      const order = rows
        .map((row) => ({ ...row, allOk: this.#parse(row.value).allOk }))
        .sort((a, b) => Number(b.allOk) - Number(a.allOk) || a.key - b.key);
      for (const row of order) {
        if (count <= limits.maxRuns && bytes <= limits.maxBytes) break;
        dropped.push(row.key);
        count--;
        bytes -= row.bytes;
      }
    }
    const before = this.facts.get('droppedResults') ?? 0;
    await this.#change(Buffer.byteLength(text), () => {
      for (const key of dropped) this.#results.removeSync(key);
      this.#results.putSync((rows.at(-1)?.key ?? 0) + 1, text);
      if (dropped.length > 0) this.#root.putSync('fact:droppedResults', JSON.stringify(before + dropped.length));
    });
  }

  async close(): Promise<void> {
    await this.#root.close();
  }
}

/** @throws CodedError STATE_DAMAGED for a file that is not whole; it is never replaced silently */
export function openStateStore(dir: string): StateStore {
  assertIntactLmdb(dir);
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  try {
    return new LmdbStateStore(dir);
  } catch (thrown) {
    throw stateFailure(dir, thrown);
  }
}
