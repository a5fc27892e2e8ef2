/** Files named by a relative `source:`: marked, parsed, and embedded in the body (config.md §8.1). */
import type { Problem, SourceLocation } from '../base/problem.ts';
import { RAW_TEMPLATE } from '../policy/body.ts';
import type { TemplateUse } from '../template/uses.ts';
import { parseText, problemAt } from './expressions.ts';
import { markText } from './secrets.ts';
import type { ConfigSnapshot } from './snapshot.ts';
import type { SourceFile } from './source.ts';

export interface TemplateFile {
  readonly path: string;
  /** what the body carries */
  readonly text: string;
  readonly refs: readonly string[];
  readonly uses: readonly TemplateUse[];
  readonly problems: readonly Problem[];
}

const FILES = new WeakMap<SourceFile, TemplateFile>();

/** A path on the node is absolute; everything else names a file of the tree. */
export function isRelativeSource(source: string): boolean {
  return !/^(\/|[A-Za-z]:[\\/]|\\\\|[a-z][a-z0-9+.-]*:\/\/)/.test(source) && !source.startsWith('\u0001');
}

/** Undefined when the tree has no such file; only `templates/` and `.vgo` files are in a tree. */
export function templateFile(config: ConfigSnapshot, path: string): TemplateFile | undefined {
  const file = config.files.get(path.normalize('NFC').replace(/^\.\//, ''));
  if (file === undefined) return undefined;
  let known = FILES.get(file);
  if (known === undefined) {
    known = readTemplate(file);
    FILES.set(file, known);
  }
  return known;
}

function readTemplate(file: SourceFile): TemplateFile {
  let source: string;
  try {
    source = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(file.bytes);
  } catch {
    // not text: carried as bytes and never rendered
    return { path: file.path, text: `${RAW_TEMPLATE}${Buffer.from(file.bytes).toString('base64')}`, refs: [], uses: [], problems: [] };
  }
  const at: SourceLocation = { file: file.path, line: 1, column: 1 };
  if (source.includes('\u0001'))
    return { path: file.path, text: '', refs: [], uses: [], problems: [problemAt({ rule: 'YAML-2', message: 'text holds U+0001' }, at)] };
  const { value, refs, faults } = markText(source);
  const parsed = parseText(value, 'content');
  const problems = [
    ...faults.map((message) => problemAt({ rule: 'SEC-2', message }, at)),
    ...parsed.faults.map((fault) => problemAt(fault, located(value, file.path, fault))),
  ];
  return { path: file.path, text: value, refs, uses: parsed.uses, problems };
}

function located(text: string, file: string, fault: { readonly offset?: number | undefined }): SourceLocation {
  const before = text.slice(0, fault.offset ?? 0).split('\n');
  return { file, line: before.length, column: before.at(-1)!.length + 1 };
}
