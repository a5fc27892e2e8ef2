import { join } from 'node:path';
import { z } from 'zod';
import { systemClock } from '../../core/base/clock.ts';
import { CodedError } from '../../core/base/errors.ts';
import { newId } from '../../core/base/ids.ts';
import type { CommandIo } from '../../core/command/command.ts';
import { type Column, escapeText, formatJson, formatTime, printList } from '../../core/command/output.ts';
import { runWhenFree } from '../converge/lock.ts';
import { lineDiff } from '../executors/line-diff.ts';
import { RunFiles } from '../state/run-files.ts';
import { type ListedSnapshot, SnapshotStore } from '../state/snapshots.ts';
import { LocalSystem } from '../system/local-system.ts';
import { type AgentGlobals, agentCommand, requireRoot, settingsOf } from './globals.ts';

const COLUMNS: readonly Column<ListedSnapshot>[] = [
  { title: 'PATH', value: ({ path }) => path },
  { title: 'N', value: ({ n }) => n },
  { title: 'TIME', value: ({ time }, options) => formatTime(time, options) },
  { title: 'MODULE', value: ({ module }) => module },
  { title: 'RESOURCE', value: ({ resource }) => resource },
  { title: 'ACTION', value: ({ action, reason }) => (reason === undefined ? action : `${action} (not kept: ${reason})`) },
  { title: 'SIZE', value: ({ size }) => size },
];

const pathArgument = { name: 'path', summary: 'the file' };
const numberArgument = { name: 'n', summary: '1 = newest (the default)', optional: true };

function open(globals: AgentGlobals): { readonly store: SnapshotStore; readonly system: LocalSystem; readonly runFolder: string } {
  const { snapshot_dir, snapshot_retention, stateDir } = settingsOf(globals);
  const system = new LocalSystem();
  const store = new SnapshotStore(system, { folder: snapshot_dir ?? join(stateDir, 'snapshots'), retention: snapshot_retention });
  return { store, system, runFolder: join(stateDir, 'run') };
}

function numberOf(text: string | undefined): number {
  if (text === undefined) return 1;
  if (!/^[1-9]\d{0,4}$/.test(text)) throw new CodedError('USAGE', `"${text}" is not the number of a snapshot`, { hint: '1 is the newest' });
  return Number(text);
}

/** Bytes that are no text would wreck a terminal. */
function show(data: Buffer, io: CommandIo): void {
  const text = data.toString('utf8');
  if (!io.stdoutIsTerminal) io.out(text);
  else if (!Buffer.from(text).equals(data)) io.err(`(${data.length} bytes that are no text)\n`);
  else io.out(escapeText(text));
}

export const snapshotsList = agentCommand({
  name: ['snapshots', 'list'],
  summary: 'files kept before they were changed or deleted',
  flags: z.object({}),
  positional: [{ ...pathArgument, optional: true }],
  async run({ globals, args }, io) {
    const found = await open(globals).store.list(args[0]);
    printList(io, { form: globals.json ? 'json' : 'table', color: false, quiet: false, utc: false }, COLUMNS, found, found);
    return 0;
  },
});

export const snapshotsShow = agentCommand({
  name: ['snapshots', 'show'],
  summary: 'the content of one snapshot',
  flags: z.object({}),
  positional: [pathArgument, numberArgument],
  async run({ globals, args }, io) {
    requireRoot(globals, 'snapshots show');
    const { entry, data } = await open(globals).store.read(args[0]!, numberOf(args[1]));
    if (globals.json) io.out(formatJson({ ...entry, content_base64: data.toString('base64') }));
    else show(data, io);
    return 0;
  },
});

export const snapshotsDiff = agentCommand({
  name: ['snapshots', 'diff'],
  summary: 'what changed between a snapshot and the file as it is',
  flags: z.object({}),
  positional: [pathArgument, numberArgument],
  async run({ globals, args }, io) {
    requireRoot(globals, 'snapshots diff');
    const { store, system } = open(globals);
    const { data } = await store.read(args[0]!, numberOf(args[1]));
    const now = (await system.readFile(args[0]!)) ?? Buffer.alloc(0);
    if (!now.equals(data)) show(Buffer.from(lineDiff(data.toString('utf8'), now.toString('utf8'))), io);
    return 0;
  },
});

export const snapshotsRestore = agentCommand({
  name: ['snapshots', 'restore'],
  summary: 'puts a snapshot back',
  flags: z.object({}),
  positional: [pathArgument, numberArgument],
  async run({ globals, args }, io) {
    requireRoot(globals, 'snapshots restore');
    const { store, runFolder } = open(globals);
    const files = new RunFiles(runFolder, 'manual');
    const entry = await runWhenFree(files, { clock: systemClock, signal: io.signal }, () =>
      store.restore(args[0]!, numberOf(args[1]), newId(systemClock.now())),
    );
    if (globals.json) io.out(formatJson(entry));
    else io.err(`${escapeText(entry.path)} is as it was before ${escapeText(`${entry.module}/${entry.resource}`)} ${entry.action} it\n`);
    io.err('a policy that manages this file will enforce its own content again with the next run\n');
    return 0;
  },
});
