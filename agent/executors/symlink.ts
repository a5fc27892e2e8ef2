/** Keeps a symbolic or hard link. */
import { CodedError } from '../../core/base/errors.ts';
import { symlink as spec } from '../../core/resources/symlink.ts';
import { type Change, defineExecutor } from './executor.ts';
import { driftedAttributes, ownershipChanges } from './ownership.ts';

export const symlink = defineExecutor(spec, {
  async check(want, context) {
    const { system } = context;
    const stat = await system.stat(want.target_path);
    if (stat?.kind === 'directory') throw new CodedError('BLOCKED', `${want.target_path} is a directory`);
    if (want.state === 'absent') {
      if (stat === undefined) return [];
      if (want.link_type === 'soft' && stat.kind !== 'symlink') throw new CodedError('BLOCKED', `${want.target_path} is no symbolic link`);
      return [{ attribute: 'exists', from: true, to: false }];
    }
    const to = want.to ?? '';
    const changes: Change[] = [];
    if (want.link_type === 'hard') {
      const target = await system.stat(to);
      if (target === undefined && !context.dryRun) throw new CodedError('BLOCKED', `the target ${to} of the hard link does not exist`);
      if (stat === undefined) return [{ attribute: 'exists', from: false, to: true }];
      if (stat.identity === target?.identity) return [];
      changes.push({ attribute: 'to', from: stat.kind, to });
    } else {
      if (stat === undefined) return [{ attribute: 'exists', from: false, to: true }];
      const now = await system.readLink(want.target_path);
      if (now !== to) changes.push({ attribute: 'to', from: now ?? stat.kind, to });
      if (now !== undefined) changes.push(...(await ownershipChanges({ owner: want.owner, group: want.group }, stat, context)));
    }
    const sameKind = want.link_type === 'soft' && stat.kind === 'symlink';
    if (changes.some(({ attribute }) => attribute === 'to') && !sameKind && !want.force)
      throw new CodedError('BLOCKED', `a ${stat.kind} is at ${want.target_path}`, { hint: 'force: true replaces it' });
    return changes;
  },

  async apply(want, changes, context) {
    const { system } = context;
    if (want.state === 'absent') {
      await context.snapshot(want.target_path, 'deleted');
      return await system.remove(want.target_path);
    }
    if (changes.some(({ attribute }) => attribute === 'to' || attribute === 'exists')) {
      if (changes.some(({ attribute }) => attribute === 'to')) await context.snapshot(want.target_path, 'updated');
      await system.makeLink(want.target_path, want.to ?? '', want.link_type === 'hard' ? 'hard' : 'symbolic');
    }
    if (want.link_type === 'hard' || (want.owner === undefined && want.group === undefined)) return;
    const stat = await system.stat(want.target_path);
    const ownership = { owner: want.owner, group: want.group };
    if (stat !== undefined)
      await system.setAttributes(want.target_path, driftedAttributes(ownership, await ownershipChanges(ownership, stat, context)));
  },
});
