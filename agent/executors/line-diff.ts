/** What differs between two texts, for people: the lines between the common beginning and the common end. */
const MAX_LINES = 200;

export function lineDiff(from: string, to: string): string {
  const old = from.split('\n');
  const wanted = to.split('\n');
  let start = 0;
  while (start < old.length && start < wanted.length && old[start] === wanted[start]) start++;
  let end = 0;
  while (end < old.length - start && end < wanted.length - start && old.at(-1 - end) === wanted.at(-1 - end)) end++;
  const gone = old.slice(start, old.length - end).map((line) => `-${line}`);
  const come = wanted.slice(start, wanted.length - end).map((line) => `+${line}`);
  const lines = [...gone, ...come];
  const shown = lines.slice(0, MAX_LINES).join('\n');
  return `@@ line ${start + 1} @@\n${shown}${lines.length > MAX_LINES ? `\n[${lines.length - MAX_LINES} lines more]` : ''}\n`;
}
