/** How a run of the daemon makes room for one that a person asked for. */
import type { RunFiles } from '../state/run-files.ts';

/** Asked before every resource; the answer stays yes, so that a run which began to yield yields all the way. */
export function yieldsTo(files: Pick<RunFiles, 'isAskedToYield'>): () => Promise<boolean> {
  let asked = false;
  return () => {
    asked ||= files.isAskedToYield();
    return Promise.resolve(asked);
  };
}
