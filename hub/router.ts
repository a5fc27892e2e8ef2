/** How a hostname finds its spoke (server.md §2.5): most literal characters before the first wildcard, then most in all, then list order; equal patterns share by weight. */
import { createHash } from 'node:crypto';
import { compileGlob } from '../core/base/glob.ts';

export interface RouteSite {
  readonly id: string;
  readonly patterns: readonly string[];
  readonly weight: number;
  /** false: it takes nobody now, such as while it drains */
  readonly accepts: boolean;
}

export interface TriedPattern {
  readonly pattern: string;
  readonly siteId: string;
  readonly literalsBefore: number;
  readonly literals: number;
  readonly matches: boolean;
  readonly chosen: boolean;
  readonly why: string;
}

export interface Routed {
  /** undefined: refused with NO_ROUTE, or SPOKE_DRAINING when `busy` */
  readonly siteId: string | undefined;
  readonly why: string;
  /** a pattern matches, but its spokes take nobody now */
  readonly busy: boolean;
  /** in the order in which they count */
  readonly tried: readonly TriedPattern[];
}

/** Literal characters of a pattern: before its first wildcard, and in all. */
export function literalsOf(pattern: string): { readonly before: number; readonly all: number } {
  let before = 0;
  let all = 0;
  let wild = false;
  const chars = [...pattern.replace(/\.$/, '')];
  for (let i = 0; i < chars.length; i++) {
    const char = chars[i]!;
    if (char === '*' || char === '?') wild = true;
    else if (char === '[') {
      wild = true;
      // a set ends at the first bracket that is not its first member
      let at = i + (chars[i + 1] === '^' ? 2 : 1);
      do at += chars[at] === '\\' ? 2 : 1;
      while (at < chars.length && chars[at] !== ']');
      i = at;
    } else {
      if (char === '\\') i += 1;
      all += 1;
      if (!wild) before += 1;
    }
  }
  return { before, all };
}

/** Weighted rendezvous: highest score wins; a site that comes or goes moves no host between the others. */
export function shareOf(hostname: string, siteId: string, weight: number): number {
  const hash = createHash('sha256').update(`${hostname}\0${siteId}`).digest();
  // 48 bits, never 0 or 1
  const uniform = (hash.readUIntBE(0, 6) + 0.5) / 2 ** 48;
  return -weight / Math.log(uniform);
}

const normal = (name: string): string => name.toLowerCase().replace(/\.$/, '');

/**
 * @param sites in list order
 * @param fallback site for hostnames that no pattern matches; undefined: none
 */
export function routeOf(hostname: string, sites: readonly RouteSite[], fallback: string | undefined): Routed {
  const host = normal(hostname);
  const ordered = sites
    .flatMap((site, order) => site.patterns.map((pattern) => ({ site, order, pattern: normal(pattern), text: pattern })))
    .map((each) => {
      const { before, all } = literalsOf(each.pattern);
      return { ...each, before, all, matches: compileGlob(each.pattern).matches(host) };
    })
    .sort((a, b) => b.before - a.before || b.all - a.all || a.order - b.order);
  const matching = ordered.filter(({ matches }) => matches);
  const best = matching.find(({ site }) => site.accepts);
  const sharing = best === undefined ? [] : matching.filter(({ pattern, site }) => pattern === best.pattern && site.accepts);
  const scored = sharing
    .map(({ site }) => ({ site, score: shareOf(host, site.id, site.weight) }))
    .sort((a, b) => b.score - a.score || (a.site.id < b.site.id ? -1 : 1));
  const winner = scored[0]?.site;
  const why = ({ site, pattern, matches }: (typeof ordered)[number]): string => {
    if (!matches) return 'does not match';
    if (!site.accepts) return 'matches, but the spoke takes nobody now';
    if (pattern !== best?.pattern) return 'matches, but a more specific pattern does too';
    if (site !== winner) return `matches, and the share by weight fell to ${winner?.id ?? ''}`;
    return sharing.length > 1 ? `most specific; share by weight among ${sharing.length}` : 'most specific';
  };
  const tried = ordered.map((each) => ({
    pattern: each.text,
    siteId: each.site.id,
    literalsBefore: each.before,
    literals: each.all,
    matches: each.matches,
    chosen: each.site === winner && each.pattern === best?.pattern,
    why: why(each),
  }));
  if (winner !== undefined) return { siteId: winner.id, why: `pattern ${best!.text}`, busy: false, tried };
  if (matching.length > 0) return { siteId: undefined, why: 'every spoke whose pattern matches takes nobody now', busy: true, tried };
  const target = sites.find(({ id }) => id === fallback);
  if (target === undefined) return { siteId: undefined, why: 'no pattern matches, and spanner.default_spoke is none', busy: false, tried };
  if (!target.accepts)
    return { siteId: undefined, why: `no pattern matches, and the default ${target.id} takes nobody now`, busy: true, tried };
  return { siteId: target.id, why: 'no pattern matches: spanner.default_spoke', busy: false, tried };
}
