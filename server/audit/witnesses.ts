/** What the witnesses of the settings hold, for whoever verifies: only they show a tail that was cut together with its checkpoints. */
import { resolve } from 'node:path';
import { readWitnessFile } from './verify.ts';

/** Full paths behind `file:` in `audit.witnesses`. */
export function witnessFiles(names: readonly string[], dataDir: string): readonly string[] {
  return names.filter((name) => name.startsWith('file:')).map((name) => resolve(dataDir, name.slice(5)));
}

/** A file that is not there yet holds nothing; any other failure to read it is thrown, since a witness that cannot be heard proves nothing. */
export async function heardWitnesses(
  files: readonly string[],
): Promise<readonly { readonly name: string; readonly notes: readonly string[] }[]> {
  return await Promise.all(
    files.map(async (path) => {
      try {
        return { name: `file:${path}`, notes: await readWitnessFile(path) };
      } catch (thrown) {
        if ((thrown as NodeJS.ErrnoException).code !== 'ENOENT') throw thrown;
        return { name: `file:${path}`, notes: [] };
      }
    }),
  );
}
