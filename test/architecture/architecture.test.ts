/** Rules of the house that lint cannot say: registries are complete, files stay small, nothing speaks plaintext, pages are current. */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from '@jest/globals';
import { EXECUTORS } from '../../agent/executors/index.ts';
import { COLLECTORS } from '../../agent/traits/index.ts';
import { ROUTES } from '../../core/api/index.ts';
import { isRoutePermission } from '../../core/api/permissions.ts';
import { RESOURCES } from '../../core/resources/index.ts';
import { TRAIT_NAMES } from '../../core/traits/catalogue.ts';
import { AGENT_METHODS } from '../../proto/load.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const SOURCES = [
  'agent',
  'bench',
  'bin',
  'cli',
  'core',
  'hub',
  'network-gateway',
  'proto',
  'replication',
  'server',
  'spoke',
  'test',
  'tools',
];
const MAX_LINES = 400;

function filesBelow(folder: string): string[] {
  return readdirSync(folder).flatMap((name) => {
    const path = join(folder, name);
    return statSync(path).isDirectory() ? filesBelow(path) : [path];
  });
}

const sources = SOURCES.flatMap((folder) => filesBelow(join(root, folder))).filter((path) => /\.(ts|mjs)$/.test(path));
const product = sources.filter((path) => !/^(test|bench|tools)\/|\.test\.ts$|\.contract\.ts$/.test(relative(root, path)));
const text = (path: string): string => readFileSync(path, 'utf8');

describe('registries', () => {
  test('every resource type has an executor and four golden cases, and the other way round', () => {
    const types = RESOURCES.map(({ type }) => type).sort();
    expect(EXECUTORS.map(({ spec }) => spec.type).sort()).toEqual(types);
    for (const type of types) {
      const cases = readdirSync(join(root, 'agent/executors/golden', type)).filter((name) => name.endsWith('.yaml'));
      expect({ type, enough: cases.length >= 4 }).toEqual({ type, enough: true });
    }
  });

  test('every collector is in the catalogue', () => {
    for (const { name } of COLLECTORS) expect(TRAIT_NAMES.has(name)).toBe(true);
  });

  test('every route declares a permission, has one name and one path', () => {
    for (const { permission } of ROUTES) expect(isRoutePermission(permission)).toBe(true);
    expect(new Set(ROUTES.map(({ name }) => name)).size).toBe(ROUTES.length);
    expect(new Set(ROUTES.map(({ method, path }) => `${method} ${path}`)).size).toBe(ROUTES.length);
  });

  test('every RPC stands behind the authenticator', () => {
    const worker = text(join(root, 'server/rpc/worker.ts'));
    expect(worker.match(/addService\(/g)).toHaveLength(1);
    for (const name of Object.keys(AGENT_METHODS)) expect(worker).toContain(`${name}: '${name}'`);
    // the service: every agent method by the loop that authenticates, and one stream, of servers
    const service = /server\.addService\(service, \{([\s\S]*?)\n\}\);/.exec(worker)?.[1] ?? '';
    expect(service).toContain('unary(domains[name as AgentMethod], name as AgentMethod)');
    expect(service.match(/^ {2}\w+: /gm)).toEqual(['  link: ']);
    expect(service).toContain('link: linkStreams.accept');
  });

  test('the stream of servers is taken in one place, which hears a signed hello before it makes a session', () => {
    const takers = product.filter((path) => /\.onStream\((?!undefined)/.test(text(path))).map((path) => relative(root, path));
    expect(takers).toEqual(['hub/links.ts']);
    const links = text(join(root, 'hub/links.ts'));
    expect(links.indexOf('await hearHello(stream')).toBeGreaterThan(0);
    expect(links.indexOf('await hearHello(stream')).toBeLessThan(links.indexOf('new Session('));
    expect(links.match(/new Session\(/g)).toHaveLength(1);
  });
});

describe('files', () => {
  test(`none of the product is longer than ${MAX_LINES} lines`, () => {
    const long = product.filter((path) => text(path).split('\n').length > MAX_LINES + 1).map((path) => relative(root, path));
    expect(long).toEqual([]);
  });

  test('every top folder says what it is in at most 25 lines', () => {
    for (const folder of SOURCES.filter((name) => !['tools', 'bench'].includes(name)))
      expect(text(join(root, folder, 'README.md')).split('\n').length).toBeLessThanOrEqual(26);
  });

  test('no name says nothing', () => {
    const empty = product.filter((path) => /(^|-)(manager|helper|util|utils|base|impl)\.ts$/.test(path.replace(/.*\//, '').toLowerCase()));
    expect(empty.map((path) => relative(root, path))).toEqual([]);
  });
});

describe('nothing speaks plaintext', () => {
  const banned: readonly [string, RegExp, readonly string[]][] = [
    ['insecure gRPC', /createInsecure\(/, []],
    [
      'plain HTTP servers',
      /from 'node:http'|require\('http'\)|http2\.createServer\(/,
      ['server/rest/guard.ts', 'server/rest/agent-guard.ts', 'server/rest/events.ts', 'cli/api-client.ts'],
    ],
    ['unchecked certificates', /rejectUnauthorized: false/, ['core/crypto/tls.ts']],
    ['shells', /shell: true/, []],
  ];
  test.each(banned)('%s', (_name, pattern, allowed) => {
    const found = product.filter((path) => pattern.test(text(path))).map((path) => relative(root, path));
    expect(found.filter((path) => !allowed.includes(path))).toEqual([]);
  });

  test('what is imported of node:http are types alone', () => {
    for (const path of product)
      for (const line of text(path).split('\n')) if (line.includes("from 'node:http'")) expect(line).toMatch(/^import type /);
  });
});
