/** Traits: paths, deltas, the catalogue. */
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import type { Json } from '../base/json.ts';
import { TRAIT_CATALOGUE, TRAIT_NAMES } from './catalogue.ts';
import { applyDelta, deltaOf, type Traits, traitsHash } from './delta.ts';
import { traitAt } from './path.ts';

const traits = fc.dictionary(fc.oneof(fc.constantFrom('os', 'network', '__proto__', 'constructor'), fc.string()), fc.jsonValue(), {
  maxKeys: 8,
}) as fc.Arbitrary<Traits>;

describe('deltas', () => {
  test('apply(delta(a, b), a) = b', () => {
    fc.assert(
      fc.property(traits, traits, (a, b) => {
        const delta = JSON.parse(JSON.stringify(deltaOf(a, b))) as ReturnType<typeof deltaOf>;
        expect(traitsHash(applyDelta(a, delta))).toBe(traitsHash(b));
        expect(traitsHash(applyDelta(undefined, deltaOf(undefined, b)))).toBe(traitsHash(b));
      }),
    );
  });

  test('carry only the collectors that differ', () => {
    const delta = deltaOf({ os: { family: 'debian' }, load: [1], gone: 1 }, { load: [2], os: { family: 'debian' } });
    expect(delta).toMatchObject({ full: false, removed: ['gone'] });
    expect(Object.entries(delta.set)).toEqual([['load', [2]]]);
  });

  test('refuse another base and a wrong result', () => {
    const delta = deltaOf({ a: 1 }, { a: 2 });
    expect(() => applyDelta({ a: 3 }, delta)).toThrow('another base');
    expect(() => applyDelta(undefined, delta)).toThrow('another base');
    expect(() => applyDelta({ a: 1 }, { ...delta, set: { a: 9 } })).toThrow('another hash');
  });
});

test.each<[string, Json | undefined]>([
  ['os.family', 'debian'],
  ['os', { family: 'debian' }],
  ['os.family.x', undefined],
  ['list.1', 'b'],
  ['list.9', undefined],
  ['mounts./.free', 5],
  ['mounts./srv/a.b.free', 7],
  ['constructor.name', undefined],
  ['__proto__', undefined],
])('trait %s', (path, expected) => {
  expect(traitAt({ os: { family: 'debian' }, list: ['a', 'b'], mounts: { '/': { free: 5 }, '/srv/a.b': { free: 7 } } }, path)).toEqual(
    expected,
  );
});

test('the catalogue has 28 collectors whose fields lie below their names', () => {
  expect(TRAIT_NAMES.size).toBe(28);
  for (const collector of TRAIT_CATALOGUE)
    for (const field of collector.fields)
      expect(
        field.path === collector.name || field.path.startsWith(`${collector.name}.`) || field.path.startsWith(`${collector.name}[`),
      ).toBe(true);
});
