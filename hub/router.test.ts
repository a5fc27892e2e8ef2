/** How hostnames find their spoke: specific patterns first, equal ones by weight, and few move when a spoke comes or goes. */
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { literalsOf, type RouteSite, routeOf } from './router.ts';

const site = (id: string, patterns: readonly string[], more: Partial<RouteSite> = {}): RouteSite => ({
  id,
  patterns,
  weight: 100,
  accepts: true,
  ...more,
});

test.each([
  ['web1.dc1.test', 13, 13],
  ['*.dc1.test', 0, 9],
  ['web*.dc1.test', 3, 12],
  ['web?.dc1.test', 3, 12],
  ['web[0-9].dc1.test', 3, 12],
  ['web[^a].dc1', 3, 7],
  ['web[]x].dc1', 3, 7],
  ['web[a\\]b]x', 3, 4],
  ['a\\*b*', 3, 3],
  ['*', 0, 0],
  ['host.', 4, 4],
])('%s has %i literal characters before its first wildcard and %i in all', (pattern, before, all) => {
  expect(literalsOf(pattern)).toEqual({ before, all });
});

const DC = [site('a', ['*.dc1.test', 'db*.dc2.test']), site('b', ['web*.dc1.test', '*.dc2.test']), site('c', ['*.test'])];

test.each([
  ['x.dc1.test', 'a', 'the longer of two that begin with a wildcard'],
  ['web1.dc1.test', 'b', 'literals before the first wildcard count first'],
  ['WEB1.DC1.TEST.', 'b', 'case and a last dot do not matter'],
  ['db7.dc2.test', 'a', ''],
  ['x.dc2.test', 'b', ''],
  ['x.dc9.test', 'c', ''],
])('%s belongs to %s (%s)', (hostname, wanted) => {
  expect(routeOf(hostname, DC, undefined).siteId).toBe(wanted);
});

describe('when nobody is there for it', () => {
  test.each([
    ['no pattern, no default', [site('a', ['x'])], undefined, { siteId: undefined, busy: false }],
    ['no pattern, a default', [site('a', ['x'])], 'a', { siteId: 'a', busy: false }],
    ['no pattern, a default that is not there', [site('a', ['x'])], 'b', { siteId: undefined, busy: false }],
    ['the default drains', [site('a', ['x'], { accepts: false })], 'a', { siteId: undefined, busy: true }],
    [
      'the only match drains, the default does not take its place',
      [site('a', ['h'], { accepts: false }), site('b', [])],
      'b',
      { siteId: undefined, busy: true },
    ],
    ['a wider pattern takes its place', [site('a', ['h'], { accepts: false }), site('b', ['*'])], undefined, { siteId: 'b', busy: false }],
  ] as const)('%s', (_name, sites, fallback, expected) => {
    expect(routeOf('h', sites, fallback)).toMatchObject(expected);
  });
});

test('every pattern is told, in the order in which they count, with one chosen', () => {
  const { tried } = routeOf('web1.dc1.test', DC, undefined);
  expect(tried.map(({ pattern, siteId, matches, chosen }) => `${pattern} ${siteId} ${matches ? 'y' : 'n'}${chosen ? ' <-' : ''}`)).toEqual([
    'web*.dc1.test b y <-',
    'db*.dc2.test a n',
    '*.dc1.test a y',
    '*.dc2.test b n',
    '*.test c y',
  ]);
});

describe('properties', () => {
  const hostname = fc.stringMatching(/^[a-z0-9]{1,8}(\.[a-z0-9]{1,5}){0,3}$/);
  const weighted = fc.uniqueArray(fc.record({ id: fc.stringMatching(/^[a-z0-9-]{1,8}$/), weight: fc.integer({ min: 1, max: 1000 }) }), {
    selector: ({ id }) => id,
    minLength: 1,
    maxLength: 6,
  });
  const sharing = (sites: readonly { id: string; weight: number }[]) => sites.map(({ id, weight }) => site(id, ['*'], { weight }));

  test('the same question has the same answer, whatever the list order of equal patterns', () => {
    fc.assert(
      fc.property(hostname, weighted, (host, sites) => {
        const one = routeOf(host, sharing(sites), undefined).siteId;
        expect(routeOf(host, sharing([...sites].reverse()), undefined).siteId).toBe(one);
      }),
    );
  });

  test('when a spoke goes, only its own hosts move', () => {
    fc.assert(
      fc.property(hostname, weighted, fc.nat(), (host, sites, pick) => {
        const gone = sites[pick % sites.length]!.id;
        const before = routeOf(host, sharing(sites), undefined).siteId;
        const after = routeOf(
          host,
          sharing(sites).map((each) => (each.id === gone ? { ...each, accepts: false } : each)),
          undefined,
        ).siteId;
        if (before !== gone) expect(after).toBe(before);
        else expect(after).not.toBe(gone);
      }),
    );
  });

  test('a spoke that gets more weight loses no host', () => {
    fc.assert(
      fc.property(hostname, weighted, fc.nat(), (host, sites, pick) => {
        const chosen = sites[pick % sites.length]!.id;
        const heavier = sites.map((each) => (each.id === chosen ? { ...each, weight: each.weight + 500 } : each));
        if (routeOf(host, sharing(sites), undefined).siteId === chosen)
          expect(routeOf(host, sharing(heavier), undefined).siteId).toBe(chosen);
      }),
    );
  });

  test('no other matching pattern beats the chosen one', () => {
    const pattern = fc.oneof(fc.constantFrom('*', 'a*', '*.b', 'a?.b', 'a[0-9]*', 'ab.c'), hostname);
    const sites = fc.array(fc.record({ patterns: fc.array(pattern, { maxLength: 4 }), accepts: fc.boolean() }), {
      minLength: 1,
      maxLength: 5,
    });
    fc.assert(
      fc.property(hostname, sites, (host, list) => {
        const { siteId, tried, busy } = routeOf(
          host,
          list.map((each, index) => site(`s${index}`, each.patterns, each)),
          undefined,
        );
        const usable = tried.filter((each) => each.matches && list[Number(each.siteId.slice(1))]!.accepts);
        const best = tried.filter(({ chosen }) => chosen);
        expect(usable.length > 0).toBe(siteId !== undefined);
        if (siteId === undefined) expect(busy).toBe(tried.some(({ matches }) => matches));
        for (const each of usable)
          for (const winner of best) {
            expect(each.literalsBefore).toBeLessThanOrEqual(winner.literalsBefore);
            if (each.literalsBefore === winner.literalsBefore) expect(each.literals).toBeLessThanOrEqual(winner.literals);
          }
      }),
    );
  });

  test('shares follow the weights', () => {
    const sites = sharing([
      { id: 'a', weight: 100 },
      { id: 'b', weight: 300 },
    ]);
    let b = 0;
    for (let i = 0; i < 4000; i++) if (routeOf(`h${i}`, sites, undefined).siteId === 'b') b += 1;
    expect(b / 4000).toBeGreaterThan(0.71);
    expect(b / 4000).toBeLessThan(0.79);
  });
});
