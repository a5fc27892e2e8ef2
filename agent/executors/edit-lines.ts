/** The edit of `file_line` as a function of the text: pure, so that checking and applying cannot disagree. */
import { RE2JS } from 're2js';
import { CodedError } from '../../core/base/errors.ts';

export interface LineEdit {
  readonly line: string | undefined;
  readonly matchPattern: string | undefined;
  readonly position: string;
  readonly regionStart: string | undefined;
  readonly regionEnd: string | undefined;
  readonly state: 'present' | 'absent';
}

export interface LineChange {
  readonly from: string | null;
  readonly to: string | null;
}

interface Edited {
  readonly text: string;
  readonly changes: readonly LineChange[];
}

const matcher = (pattern: string) => {
  const compiled = RE2JS.compile(pattern);
  return (line: string) => compiled.matcher(line).find();
};

/** @throws CodedError BLOCKED when the region is not in the text */
export function editLines(text: string, edit: LineEdit): Edited {
  const ending = text.includes('\r\n') ? '\r\n' : '\n';
  const lines = text === '' ? [] : text.split(ending);
  const finished = lines.at(-1) === '';
  if (finished) lines.pop();
  const region = regionOf(lines, edit);
  if (region === undefined) {
    if (edit.state === 'absent') return { text, changes: [] };
    throw new CodedError('BLOCKED', `no line matches region_start ${edit.regionStart}`);
  }
  const changes = edit.state === 'absent' ? removeLines(lines, region, edit) : putLine(lines, region, edit);
  if (changes.length === 0) return { text, changes };
  // an empty last line is only there when it is ended
  const ends = finished || text === '' || lines.at(-1) === '';
  return { text: lines.length === 0 ? '' : lines.join(ending) + (ends ? ending : ''), changes };
}

type Region = readonly [start: number, end: number];

function regionOf(lines: readonly string[], { regionStart, regionEnd }: LineEdit): Region | undefined {
  const at = regionStart === undefined ? -1 : lines.findIndex(matcher(regionStart));
  if (regionStart !== undefined && at < 0) return undefined;
  if (regionEnd === undefined) return [at + 1, lines.length];
  const isEnd = matcher(regionEnd);
  const end = lines.findIndex((line, index) => index > at && isEnd(line));
  return [at + 1, end < 0 ? lines.length : end];
}

function removeLines(lines: string[], [start, end]: Region, { line, matchPattern }: LineEdit): LineChange[] {
  const matches = matchPattern === undefined ? () => false : matcher(matchPattern);
  const changes: LineChange[] = [];
  for (let i = end - 1; i >= start; i--) {
    if (lines[i] !== line && !matches(lines[i]!)) continue;
    changes.unshift({ from: lines[i]!, to: null });
    lines.splice(i, 1);
  }
  return changes;
}

function putLine(lines: string[], region: Region, edit: LineEdit): LineChange[] {
  const line = edit.line ?? '';
  const [start, end] = region;
  const present = lines.slice(start, end).includes(line);
  const matches = edit.matchPattern === undefined ? () => false : matcher(edit.matchPattern);
  const stale = lines.flatMap((one, index) => (index >= start && index < end && one !== line && matches(one) ? [index] : []));
  if (stale.length === 0) {
    if (present) return [];
    lines.splice(placeOf(lines, region, edit.position), 0, line);
    return [{ from: null, to: line }];
  }
  const changes: LineChange[] = [];
  for (const index of [...stale].reverse()) {
    const replaces = !present && index === stale[0];
    changes.unshift({ from: lines[index]!, to: replaces ? line : null });
    lines.splice(index, 1, ...(replaces ? [line] : []));
  }
  return changes;
}

/** After the last or before the first match; at the end when nothing matches. */
function placeOf(lines: readonly string[], [start, end]: Region, position: string): number {
  if (position === 'begin') return start;
  const found = /^(after|before):(.*)$/.exec(position);
  if (found === null) return end;
  const matches = matcher(found[2]!);
  const inside = lines.slice(start, end);
  const at = found[1] === 'after' ? inside.findLastIndex(matches) : inside.findIndex(matches);
  if (at < 0) return end;
  return start + at + (found[1] === 'after' ? 1 : 0);
}
