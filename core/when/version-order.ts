/** One order of versions for every platform (config.md §7.3). */

function compareNumbers(a: string, b: string): number {
  const x = BigInt(a === '' ? '0' : a);
  const y = BigInt(b === '' ? '0' : b);
  return x < y ? -1 : x > y ? 1 : 0;
}

function comparePart(a: string, b: string): number {
  const split = (part: string) => /^(\d*)(.*)$/s.exec(part)!;
  const [, digitsA = '', restA = ''] = split(a);
  const [, digitsB = '', restB = ''] = split(b);
  return compareNumbers(digitsA, digitsB) || Buffer.compare(Buffer.from(restA), Buffer.from(restB));
}

function compareSections(a: string, b: string): number {
  const left = a.split(/[.\-_+]/);
  const right = b.split(/[.\-_+]/);
  for (let i = 0; i < Math.max(left.length, right.length); i++) {
    const order = comparePart(left[i] ?? '0', right[i] ?? '0');
    if (order !== 0) return order;
  }
  return 0;
}

/** Negative, zero or positive. `~` sorts before the end of the string, an epoch `N:` compares first. */
export function compareVersions(a: string, b: string): number {
  const parse = (text: string) => {
    const [, epoch = '0', rest = ''] = /^(?:(\d+):)?(.*)$/s.exec(text.trim().slice(0, 256))!;
    return { epoch, sections: rest.replace(/^[vV]/, '').split('~') };
  };
  const left = parse(a);
  const right = parse(b);
  const epochs = compareNumbers(left.epoch, right.epoch);
  if (epochs !== 0) return epochs;
  for (let i = 0; ; i++) {
    const x = left.sections[i];
    const y = right.sections[i];
    if (x === undefined || y === undefined) return x === y ? 0 : x === undefined ? 1 : -1;
    const order = compareSections(x, y);
    if (order !== 0) return order;
  }
}
