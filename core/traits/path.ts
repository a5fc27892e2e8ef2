/** Looks a trait up by its dot path. */
import { isPlainObject, type Json } from '../base/json.ts';

/** `os.family` below the collectors' values; undefined when any step is missing. A key that holds dots itself is found too. */
export function traitAt(traits: Readonly<Record<string, Json>>, path: string): Json | undefined {
  return at(traits, path.split('.'));
}

function at(value: unknown, steps: readonly string[]): Json | undefined {
  if (steps.length === 0) return value as Json;
  if (Array.isArray(value)) {
    const [first, ...rest] = steps;
    return /^\d{1,6}$/.test(first!) && value[Number(first)] !== undefined ? at(value[Number(first)], rest) : undefined;
  }
  if (!isPlainObject(value)) return undefined;
  for (let length = 1; length <= steps.length; length++) {
    const key = steps.slice(0, length).join('.');
    if (Object.hasOwn(value, key) && value[key] !== undefined) return at(value[key], steps.slice(length));
  }
  return undefined;
}
