/** Makes checkpoints: after so many records, at least once a minute while records come, and at stop; hands them to the witnesses. */
import { appendFile } from 'node:fs/promises';
import type { Clock } from '../../core/base/clock.ts';
import type { Logger } from '../../core/base/log.ts';
import type { SigningKey } from '../../core/crypto/ed25519.ts';
import { frontierRoot } from '../../core/crypto/merkle-log.ts';
import type { Store } from '../store/store.ts';
import { signCheckpoint } from './note.ts';

/** Receives each new checkpoint; a failing one is logged and tried again with the next checkpoint. */
export interface Witness {
  readonly name: string;
  give(note: string): Promise<void>;
}

/** `file:<path>`: notes are appended to a file meant for other storage. */
export function fileWitness(path: string): Witness {
  return { name: `file:${path}`, give: (note) => appendFile(path, `${note}\n`, { mode: 0o640 }) };
}

export interface Checkpointer {
  /** a record was written; makes a checkpoint when enough have come */
  recorded(): void;
  /** now, when there are records since the last one; answers the newest note */
  make(): Promise<string | undefined>;
  start(): void;
  /** makes the last one */
  stop(): Promise<void>;
}

const EVERY_MS = 60_000;

export function createCheckpointer(parts: {
  readonly store: Pick<Store, 'transaction' | 'checkpoints'>;
  readonly clock: Clock;
  readonly log: Logger;
  readonly key: SigningKey;
  readonly fleetId: string;
  readonly siteId: string;
  readonly epoch: () => number;
  /** records between two checkpoints */
  readonly every: number;
  readonly witnesses: readonly Witness[];
}): Checkpointer {
  let since = 0;
  let busy: Promise<unknown> = Promise.resolve();
  const ending = new AbortController();
  let loop: Promise<void> | undefined;

  async function makeOne(): Promise<string | undefined> {
    since = 0;
    const time = parts.clock.now();
    const { note, fresh } = await parts.store.transaction(async (tx) => {
      const newest = await tx.checkpoints.newest();
      const head = await tx.audit.head();
      if (head.size === 0 || head.size === newest?.size) return { note: newest?.note, fresh: false };
      const root = frontierRoot({ size: head.size, roots: head.frontier });
      const { fleetId, siteId } = parts;
      const made = signCheckpoint({ fleetId, siteId, size: head.size, root, epoch: parts.epoch(), time }, parts.key);
      await tx.checkpoints.add({ size: head.size, time, note: made, frontier: head.frontier });
      return { note: made, fresh: true };
    });
    if (fresh && note !== undefined) {
      for (const witness of parts.witnesses) {
        try {
          await witness.give(note);
        } catch (error) {
          parts.log.error('a witness did not take the checkpoint', { witness: witness.name, error });
        }
      }
    }
    return note;
  }

  /** one after the other */
  function make(): Promise<string | undefined> {
    const next = busy.then(makeOne);
    busy = next.catch(() => undefined);
    return next;
  }

  async function makeOrLog(): Promise<void> {
    try {
      await make();
    } catch (error) {
      parts.log.error('the checkpoint of the audit log failed', { error });
    }
  }

  return {
    recorded() {
      since += 1;
      if (since >= parts.every) void makeOrLog();
    },
    make,
    start() {
      loop ??= (async () => {
        while (!ending.signal.aborted) {
          await parts.clock.sleep(EVERY_MS, ending.signal);
          if (since > 0 && !ending.signal.aborted) await makeOrLog();
        }
      })();
    },
    async stop() {
      if (ending.signal.aborted) return;
      ending.abort();
      await loop;
      await makeOrLog();
    },
  };
}
