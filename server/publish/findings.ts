/** Findings that need more than the tree: secrets that are not there, envoys that lose their match. */
import type { Problem } from '../../core/base/problem.ts';
import type { SecretProvider } from '../secrets/provider.ts';
import { versionsOf } from '../secrets/resolver.ts';
import type { CompiledTree, Impact } from './messages.ts';

export async function missingSecrets(secrets: SecretProvider, tree: CompiledTree): Promise<readonly Problem[]> {
  const refs = [...new Set(tree.entries.flatMap(({ secretRefs }) => secretRefs))];
  if (refs.length === 0) return [];
  const versions = await versionsOf(secrets, refs);
  return refs.flatMap((ref): Problem[] => {
    if (versions.get(ref.split('#', 1)[0]!) !== null) return [];
    const user = tree.entries.find(({ secretRefs }) => secretRefs.includes(ref))!;
    const at = { file: user.file, line: user.line, column: 1 };
    return [{ rule: 'SEC-1', severity: 'error', message: `there is no secret "${ref}"`, at, entry: user.id, hint: 'vigocli secrets set' }];
  });
}

export function unmatchedFinding({ unmatched }: Impact): readonly Problem[] {
  if (unmatched.length === 0) return [];
  const shown = unmatched.slice(0, 20).join(', ');
  const message = `${unmatched.length} envoys lose their match: ${shown}${unmatched.length > 20 ? ', …' : ''}`;
  return [{ rule: 'MATCH-3', severity: 'warning', message }];
}
