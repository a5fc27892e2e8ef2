/** Secret references in configuration: recognised, checked and turned into markers (config.md §9.1, §9.3). No plaintext is ever here. */

import type { Json } from '../base/json.ts';
import { SECRET_MARK, secretMarker, secretMarkers } from '../policy/body.ts';
import { eachText, mapText } from './values.ts';

const PATH = /^[A-Za-z0-9_][A-Za-z0-9_./-]*$/;
const FIELD = /^[A-Za-z0-9_-]{1,64}$/;
const SCHEME = 'secret:';

export interface Marked<T> {
  readonly value: T;
  readonly refs: readonly string[];
  /** what is wrong, as texts of SEC-2 */
  readonly faults: readonly string[];
}

/** Why `path[#field]` is no reference; undefined when it is one. */
export function referenceFault(ref: string): string | undefined {
  const [path, field, ...more] = ref.split('#');
  if (ref.includes('{{')) return 'a secret reference must not hold a template action';
  if (path === undefined || !PATH.test(path)) return `"${SCHEME}${ref}" is not a secret reference`;
  if (path.includes('//') || path.endsWith('/') || path.includes('..') || path.split('/').includes('.'))
    return `"${SCHEME}${ref}": the path must not hold "..", "//" or end with "/"`;
  if (Buffer.byteLength(path) > 256) return 'the path of a secret has at most 256 bytes';
  if (more.length > 0 || (field !== undefined && !FIELD.test(field))) return `"${SCHEME}${ref}": bad field after "#"`;
  return undefined;
}

/** A whole value `secret:…`, else undefined. */
export function wholeReference(text: string): string | undefined {
  return text.startsWith(SCHEME) ? text.slice(SCHEME.length) : undefined;
}

interface Token {
  readonly start: number;
  readonly end: number;
  readonly ref: string;
}

/** Tokens inside text: from a non-word boundary to the first character outside the path set; one trailing dot is not part of it. */
function* tokensIn(text: string): Generator<Token> {
  const pattern = /(?<![A-Za-z0-9_])secret:([A-Za-z0-9_./-]+(?:#[A-Za-z0-9_-]+)?)?(\{\{)?/g;
  for (const match of text.matchAll(pattern)) {
    if (match[2] !== undefined) {
      yield { start: match.index, end: match.index + match[0].length, ref: `${match[1] ?? ''}{{` };
      continue;
    }
    if (match[1] === undefined) continue;
    const ref = match[1].endsWith('.') ? match[1].slice(0, -1) : match[1];
    if (ref !== '') yield { start: match.index, end: match.index + SCHEME.length + ref.length, ref };
  }
}

export function holdsReference(text: string): boolean {
  return text.includes(SCHEME) && !tokensIn(text).next().done;
}

function plainColon(text: string): string {
  return text.includes('secret\\:') ? text.replaceAll('secret\\:', SCHEME) : text;
}

/** References anywhere in a text (content and template files). */
export function markText(text: string): Marked<string> {
  if (!text.includes('secret')) return { value: text, refs: [], faults: [] };
  const refs: string[] = [];
  const faults: string[] = [];
  let value = '';
  let last = 0;
  for (const token of tokensIn(text)) {
    const fault = referenceFault(token.ref);
    if (fault === undefined) {
      value += plainColon(text.slice(last, token.start)) + secretMarker(token.ref);
      refs.push(token.ref);
      last = token.end;
    } else faults.push(fault);
  }
  return { value: value + plainColon(text.slice(last)), refs, faults };
}

/** References as whole values: every string leaf of a variable, an attribute or a device. */
export function markLeaves(value: Json): Marked<Json> {
  const refs: string[] = [];
  const faults: string[] = [];
  const marked = mapText(value, (text) => {
    const ref = wholeReference(text);
    if (ref === undefined) return plainColon(text);
    const fault = referenceFault(ref);
    if (fault === undefined) refs.push(ref);
    else faults.push(fault);
    return fault === undefined ? secretMarker(ref) : text;
  });
  return { value: marked, refs, faults };
}

/** All references whose markers a value holds. */
export function refsIn(value: Json): readonly string[] {
  const refs: string[] = [];
  eachText(value, (text) => {
    if (text.includes(SECRET_MARK)) for (const match of text.matchAll(secretMarkers())) refs.push(match[1]!);
  });
  return refs;
}

/** For people: markers as `secret:<path>` again. */
export function showReferences(value: Json): Json {
  return mapText(value, (text) => (text.includes(SECRET_MARK) ? text.replace(secretMarkers(), 'secret:$1') : text));
}
