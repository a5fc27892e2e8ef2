/** Keeps one entry of the hosts file; comments and other lines stay as they are. */
import { isIP } from 'node:net';
import type { z } from 'zod';
import { host as spec } from '../../core/resources/host.ts';
import { defineExecutor, type ExecutorContext } from './executor.ts';

type Want = z.output<typeof spec.attributes>;

const HOSTS = '/etc/hosts';

interface Entry {
  readonly ip: string;
  readonly names: readonly string[];
  readonly comment: string;
}

export const host = defineExecutor(spec, {
  async check(want, context) {
    const { changes } = await edit(want, context);
    return changes;
  },

  async apply(want, _changes, context) {
    const { text } = await edit(want, context);
    await context.snapshot(HOSTS, 'updated');
    await context.system.writeFile(HOSTS, text, {});
  },

  verb(want, changes) {
    if (want.state === 'absent') return 'deleted';
    return changes.some(({ from }) => from !== null) ? 'updated' : 'created';
  },
});

async function edit(want: Want, { system }: ExecutorContext) {
  const text = (await system.readFile(HOSTS))?.toString('utf8') ?? '';
  const lines = text === '' ? [] : text.replace(/\n$/, '').split('\n');
  const mine = lines.flatMap((line, index) => {
    const entry = parse(line);
    const sameFamily = want.ip === undefined || isIP(entry?.ip ?? '') === isIP(want.ip);
    return entry !== undefined && same(entry.names[0], want.hostname) && (sameFamily || want.state === 'absent') ? [{ index, entry }] : [];
  });
  const [first] = mine;
  const wanted = want.state === 'absent' ? undefined : wantedLine(want, first?.entry);
  const isRight = wanted === undefined ? mine.length === 0 : mine.length === 1 && lineOf(first!.entry) === lineOf(parse(wanted)!);
  if (isRight) return { text, changes: [] };
  const doomed = new Set(mine.slice(wanted === undefined ? 0 : 1).map(({ index }) => index));
  const kept = lines.flatMap((line, index) =>
    doomed.has(index) ? [] : index === first?.index && wanted !== undefined ? [wanted] : [line],
  );
  if (first === undefined && wanted !== undefined) kept.push(wanted);
  const from = first === undefined ? null : mine.map(({ entry }) => lineOf(entry)).join('; ');
  return { text: kept.map((line) => `${line}\n`).join(''), changes: [{ attribute: 'entry', from, to: wanted ?? null }] };
}

function same(a: string | undefined, b: string): boolean {
  return a?.toLowerCase() === b.toLowerCase();
}

function parse(line: string): Entry | undefined {
  const at = line.indexOf('#');
  const [ip, ...names] = (at < 0 ? line : line.slice(0, at)).trim().split(/\s+/);
  if (ip === undefined || ip === '' || names.length === 0) return undefined;
  return { ip, names, comment: at < 0 ? '' : ` ${line.slice(at)}` };
}

function lineOf({ ip, names }: Entry): string {
  return [ip, ...names].join(' ');
}

function wantedLine(want: Want, now: Entry | undefined): string {
  const names = [want.hostname, ...(want.aliases ?? now?.names.slice(1) ?? [])];
  return `${want.ip} ${names.join(' ')}${now?.comment ?? ''}`;
}
