/** Keeps a local group and its members. */
import { group as spec } from '../../core/resources/group.ts';
import { backend } from '../platform/backend.ts';
import { type Change, defineExecutor } from './executor.ts';

const sorted = (names: readonly string[]) => [...new Set(names)].sort();

export const group = defineExecutor(spec, {
  async check(want, { platform }) {
    const record = await backend(platform.accounts, 'group database').group(want.group);
    if (want.state === 'absent') return record === undefined ? [] : [{ attribute: 'exists', from: true, to: false }];
    if (record === undefined) return [{ attribute: 'exists', from: false, to: true }];
    const changes: Change[] = [];
    if (want.gid !== undefined && want.gid !== record.gid) changes.push({ attribute: 'gid', from: record.gid, to: want.gid });
    if (want.members !== undefined && sorted(want.members).join() !== sorted(record.members).join())
      changes.push({ attribute: 'members', from: sorted(record.members), to: sorted(want.members) });
    return changes;
  },

  async apply(want, changes, { platform }) {
    const accounts = backend(platform.accounts, 'group database');
    const has = (attribute: string) => changes.some((change) => change.attribute === attribute);
    if (want.state === 'absent') return await accounts.removeGroup(want.group);
    if (has('exists')) await accounts.addGroup(want.group, { system: want.system, ...(want.gid === undefined ? {} : { gid: want.gid }) });
    const gid = has('gid') ? want.gid : undefined;
    const members = has('members') || (has('exists') && (want.members ?? []).length > 0) ? want.members : undefined;
    if (gid !== undefined || members !== undefined)
      await accounts.changeGroup(want.group, {
        ...(gid === undefined ? {} : { gid }),
        ...(members === undefined ? {} : { members: sorted(members) }),
      });
  },
});
