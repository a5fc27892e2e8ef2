/** Permissions of files and directories: compared by what they mean, so `0` and `root` are the same owner. */
import type { FileStat, WriteAttributes } from '../system/system.ts';
import type { Change, ExecutorContext } from './executor.ts';

export interface WantedOwnership {
  readonly mode?: number | undefined;
  readonly owner?: string | undefined;
  readonly group?: string | undefined;
}

export function octalText(mode: number): string {
  return mode.toString(8).padStart(4, '0');
}

export async function ownershipChanges(want: WantedOwnership, stat: FileStat, { platform }: ExecutorContext): Promise<Change[]> {
  const changes: Change[] = [];
  if (want.mode !== undefined && stat.kind !== 'symlink' && want.mode !== stat.mode)
    changes.push({ attribute: 'mode', from: octalText(stat.mode), to: octalText(want.mode) });
  if (want.owner !== undefined && want.owner !== stat.owner) {
    const uid = /^\d+$/.test(want.owner) ? (await platform.accounts?.user(stat.owner))?.uid : undefined;
    if (uid !== Number(want.owner)) changes.push({ attribute: 'owner', from: stat.owner, to: want.owner });
  }
  if (want.group !== undefined && want.group !== stat.group) {
    const gid = /^\d+$/.test(want.group) ? (await platform.accounts?.group(stat.group))?.gid : undefined;
    if (gid !== Number(want.group)) changes.push({ attribute: 'group', from: stat.group, to: want.group });
  }
  return changes;
}

/** The members that are set: absent ones leave alone what is there. */
export function writeAttributes({ mode, owner, group }: WantedOwnership): WriteAttributes {
  return { ...(mode === undefined ? {} : { mode }), ...(owner === undefined ? {} : { owner }), ...(group === undefined ? {} : { group }) };
}

/** Only what differs, so that an agent without the right to change owners can still change a mode. */
export function driftedAttributes(want: WantedOwnership, changes: readonly Change[]): WriteAttributes {
  const drifted = (attribute: string) => changes.some((change) => change.attribute === attribute);
  return writeAttributes({
    mode: drifted('mode') ? want.mode : undefined,
    owner: drifted('owner') ? want.owner : undefined,
    group: drifted('group') ? want.group : undefined,
  });
}
