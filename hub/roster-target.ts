/** Which envoys of the roster a target means (server.md §9.1): host names, ids, spokes and labels; the hub keeps no traits. */
import { CodedError } from '../core/base/errors.ts';
import { compileGlob } from '../core/base/glob.ts';
import { isUuid } from '../core/base/ids.ts';
import type { RosterRow } from '../server/store/roster.ts';
import { identityIn } from './roster.ts';

type Holds = (row: RosterRow) => boolean;

function term(text: string): Holds {
  if (text === '') throw new CodedError('TARGET_SYNTAX', 'a part of the target is empty');
  if (text === '@all') return () => true;
  const [, kind, rest = ''] = /^([a-z]+):(.*)$/s.exec(text) ?? [];
  if (kind === 'label') {
    const at = rest.indexOf('=');
    const key = at < 0 ? rest : rest.slice(0, at);
    const glob = compileGlob(at < 0 ? '*' : rest.slice(at + 1));
    return (row) => {
      const labels = identityIn(row)?.labels ?? {};
      return Object.hasOwn(labels, key) && glob.matches(labels[key]!);
    };
  }
  if (kind === 'spoke' || kind === 'id') {
    const glob = compileGlob(rest);
    return (row) => glob.matches(kind === 'id' ? row.envoyId : row.ownerSite);
  }
  if (kind !== undefined)
    throw new CodedError('TARGET_SYNTAX', `moves are not targeted by ${kind}`, { hint: 'there are host names, id:, spoke: and label:' });
  if (/[=<>!]/.test(text)) throw new CodedError('TARGET_SYNTAX', `moves are not targeted by trait: "${text.slice(0, 80)}"`);
  if (isUuid(text.toLowerCase())) return (row) => row.envoyId === text.toLowerCase();
  const glob = compileGlob(text);
  return (row) => glob.matches(row.hostname);
}

/** @throws CodedError TARGET_SYNTAX, BAD_REQUEST for a glob that does not parse */
export function rosterTarget(target: string): Holds {
  const included: Holds[][] = [];
  const excluded: Holds[][] = [];
  for (const part of target.split(',')) {
    const item = part.trim();
    const negative = item.startsWith('-');
    const terms = item.slice(negative ? 1 : 0).split('+');
    (negative ? excluded : included).push(terms.map((each) => term(each.trim())));
  }
  if (included.length === 0) throw new CodedError('TARGET_SYNTAX', 'a target of exclusions only means nobody');
  const some = (items: readonly Holds[][], row: RosterRow) => items.some((terms) => terms.every((holds) => holds(row)));
  return (row) => row.status === 'active' && some(included, row) && !some(excluded, row);
}
