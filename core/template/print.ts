/** How values become text: Go's fmt for plain data, without its `<nil>` and `%!` outputs, which are errors here. */
import { fail, kindOf, MAX_OUTPUT, member, numberOf, sortedKeys, type Value } from './value.ts';

/** Shortest digits, exponent form outside 1e-4 … 1e21 (Go's %v of a float64). */
export function printFloat(value: number, low = -4, high = 21): string {
  if (value === 0) return Object.is(value, -0) ? '-0' : '0';
  if (!Number.isFinite(value)) return fail('a number that is not finite');
  const [mantissa, power] = value.toExponential().split('e') as [string, string];
  const exponent = Number(power);
  if (exponent < low || exponent >= high) return `${mantissa}e${exponent < 0 ? '-' : '+'}${String(Math.abs(exponent)).padStart(2, '0')}`;
  const negative = mantissa.startsWith('-');
  const digits = mantissa.replace('-', '').replace('.', '');
  const point = exponent + 1;
  const text =
    point <= 0
      ? `0.${'0'.repeat(-point)}${digits}`
      : point >= digits.length
        ? digits + '0'.repeat(point - digits.length)
        : `${digits.slice(0, point)}.${digits.slice(point)}`;
  return negative ? `-${text}` : text;
}

/** Prints lists and maps around a printer of scalars; bounded in depth and size. */
export function printWith(value: Value, scalar: (value: Value) => string): string {
  let length = 0;
  const walk = (item: Value, depth: number): string => {
    if (depth > 200) fail('a value nests too deep to be printed');
    const kind = kindOf(item);
    if (kind === 'list') return `[${(item as Value[]).map((each) => walk(each, depth + 1)).join(' ')}]`;
    if (kind === 'map')
      return `map[${sortedKeys(item)
        .map((key) => `${scalar(key)}:${walk(member(item, key), depth + 1)}`)
        .join(' ')}]`;
    const text = scalar(item);
    length += text.length + 1;
    if (length > MAX_OUTPUT) fail('a text grows beyond 4 MiB');
    return text;
  };
  return walk(value, 0);
}

function printScalar(value: Value): string {
  const kind = kindOf(value);
  if (kind === 'string') return value as string;
  if (kind === 'bool' || kind === 'int') return String(value);
  if (kind === 'float') return printFloat(numberOf(value));
  return fail(
    kind === 'nil'
      ? 'a nil value cannot be printed'
      : `undefined ${(value as { path?: string } | undefined)?.path ?? 'value'} cannot be printed`,
  );
}

/** What an action writes. */
export function printValue(value: Value): string {
  return printWith(value, printScalar);
}

/** Go's Sprint: a space between two operands of which neither is a string. */
export function sprint(values: readonly Value[]): string {
  let text = '';
  values.forEach((value, index) => {
    if (index > 0 && typeof value !== 'string' && typeof values[index - 1] !== 'string') text += ' ';
    text += printValue(value);
    if (text.length > MAX_OUTPUT) fail('a text grows beyond 4 MiB');
  });
  return text;
}
