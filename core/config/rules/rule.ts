/** What a publish rule is: it looks at the loaded tree and its compiled entries and reports; it never changes anything. */
import type { Problem } from '../../base/problem.ts';
import type { ProtectedSet } from '../../policy/protected.ts';
import type { CompiledEntry } from '../compile.ts';
import type { ConfigSnapshot } from '../snapshot.ts';

export interface Subject {
  readonly config: ConfigSnapshot;
  readonly compiled: readonly CompiledEntry[];
}

export interface RuleContext {
  /** asks the secret provider; left out where there is none (SEC-1 is then not checked) */
  readonly secretExists?: ((path: string) => Promise<boolean>) | undefined;
  /** day of the check, YYYY-MM-DD, for expiring waivers */
  readonly today?: string | undefined;
  readonly protectedSet?: ProtectedSet | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface Rule {
  readonly name: string;
  check(subject: Subject, context: RuleContext): readonly Problem[] | Promise<readonly Problem[]>;
}
