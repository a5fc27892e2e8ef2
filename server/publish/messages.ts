/** What the publishing thread is asked and what it answers: plain data that crosses a thread. */
import type { Problem } from '../../core/base/problem.ts';
import type { Manifest, ManifestFile } from '../../core/config/manifest.ts';
import type { HostTrace, ModuleTraceRow, TraceQuery } from '../../core/config/trace.ts';
import type { TreeDirectoryRow, TreeViewQuery } from '../../core/config/tree-view.ts';
import type { ProtectedSet } from '../../core/policy/protected.ts';

/** A tree on disk. `manifest`: a release, whose file modes are those of its manifest. */
export interface TreePlace {
  readonly directory: string;
  readonly manifest?: Manifest | undefined;
}

export interface CompiledSummary {
  readonly id: string;
  readonly ordinal: number;
  readonly patterns: readonly { readonly value: string }[];
  readonly file: string;
  readonly line: number;
  readonly environment: string | null;
  readonly policyHash: string;
  readonly observe: boolean;
  readonly moduleCount: number;
  readonly secretRefs: readonly string[];
}

export interface CompiledTree {
  readonly root: string;
  readonly files: readonly ManifestFile[];
  readonly problems: readonly Problem[];
  /** in matching order */
  readonly entries: readonly CompiledSummary[];
}

export interface FinishedBody {
  readonly entry: string;
  readonly body: Uint8Array;
  readonly bodySha256: string;
}

export interface Impact {
  readonly envoys: number;
  readonly entries: number;
  /** hosts that had an entry and lose it */
  readonly unmatched: readonly string[];
  readonly lines: readonly string[];
}

/** One operation a name: `ask` gives the arguments, `answer` the result. */
export interface Operations {
  /** copies a stage to a private directory and says what it holds */
  stage: { ask: { from: string; to: string }; answer: { root: string; files: readonly ManifestFile[]; problems: readonly Problem[] } };
  /** root hash of a directory, and what is wrong with it as a tree */
  rootOf: { ask: { directory: string }; answer: string };
  compile: { ask: TreePlace & { today: string; protectedSet: ProtectedSet }; answer: CompiledTree };
  bodies: {
    ask: { root: string; release: number; version: string; epochs: Readonly<Record<string, number>> };
    answer: readonly FinishedBody[];
  };
  impact: { ask: { before: string | undefined; after: string; hostnames: readonly string[] }; answer: Impact };
  trace: { ask: TreePlace & { host: string; query: Omit<TraceQuery, 'predict'> }; answer: HostTrace };
  traceModule: { ask: TreePlace & { module: string }; answer: readonly ModuleTraceRow[] | undefined };
  tree: { ask: TreePlace & { query: TreeViewQuery }; answer: readonly TreeDirectoryRow[] };
  /** what a release directory holds against its manifest; texts say what does not fit */
  verifyFiles: { ask: { directory: string; manifest: Manifest }; answer: readonly string[] };
  /** of each content the first of its places that really holds it */
  locate: {
    ask: { wanted: readonly { readonly sha256: string; readonly size: number; readonly places: readonly string[] }[] };
    answer: ReadonlyMap<string, string>;
  };
}
export type OperationName = keyof Operations;

export interface Request {
  readonly id: number;
  readonly name: OperationName;
  readonly ask: unknown;
}

export type Response =
  | { readonly id: number; readonly answer: unknown }
  | {
      readonly id: number;
      readonly failure: { readonly code: string | undefined; readonly message: string; readonly errno: string | undefined };
    };
