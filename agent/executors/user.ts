/** Keeps a local account and what hangs on it: groups, password, ageing, keys, sudo right. */
import type { z } from 'zod';
import { user as spec } from '../../core/resources/user.ts';
import { backend } from '../platform/backend.ts';
import type { UserChange, UserRecord } from '../platform/platform.ts';
import { type Change, defineExecutor, type ExecutorContext } from './executor.ts';
import { hashPassword, passwordMatches } from './password.ts';
import { keysDrifted, writeKeys } from './user-keys.ts';
import { removeSudo, sudoDrifted, writeSudo } from './user-sudo.ts';

type Want = z.output<typeof spec.attributes>;

const DAY_MS = 86_400_000;

export const user = defineExecutor(spec, {
  async check(want, context) {
    const record = await backend(context.platform.accounts, 'user database').user(want.username);
    if (want.state === 'absent') {
      const changes: Change[] = record === undefined ? [] : [{ attribute: 'exists', from: true, to: false }];
      if (await sudoDrifted(want.username, false, context)) changes.push({ attribute: 'sudo_nopasswd', from: true, to: false });
      return changes;
    }
    if (record === undefined) return [{ attribute: 'exists', from: false, to: true }];
    return [...(await accountDrift(want, record, context)), ...(await attachedDrift(want, record, context))];
  },

  async apply(want, changes, context) {
    const accounts = backend(context.platform.accounts, 'user database');
    const has = (attribute: string) => changes.some((change) => change.attribute === attribute);
    if (want.state === 'absent') {
      if (has('sudo_nopasswd')) await removeSudo(want.username, context);
      if (has('exists')) await accounts.removeUser(want.username, { removeHome: want.manage_home });
      return;
    }
    const creates = has('exists');
    const change = await accountChange(want, (attribute) => creates || has(attribute), context);
    if (creates) {
      const createHome = want.manage_home && !(want.system && want.home === undefined);
      await accounts.addUser(want.username, { ...change, system: want.system, createHome });
    } else if (Object.keys(change).length > 0) await accounts.changeUser(want.username, change);
    const record = await accounts.user(want.username);
    if (record === undefined) return;
    if (has('home_folder')) await context.system.makeDirectory(record.home, { mode: 0o750, owner: record.name, group: String(record.gid) });
    if (want.authorized_keys !== undefined && (creates || has('authorized_keys'))) await writeKeys(record, want.authorized_keys, context);
    if (want.sudo_nopasswd === true && (creates || has('sudo_nopasswd'))) await writeSudo(want.username, context);
    if (want.sudo_nopasswd === false && (creates || has('sudo_nopasswd'))) await removeSudo(want.username, context);
  },
});

function expiryDays(expires: string): number | null {
  return expires === 'never' ? null : Math.floor(Date.parse(`${expires}T00:00:00Z`) / DAY_MS);
}

const sorted = (names: readonly string[]) => [...new Set(names)].sort();

/** What the account database holds, attribute by attribute; undeclared ones are left alone. */
async function accountDrift(want: Want, record: UserRecord, { system, platform }: ExecutorContext): Promise<Change[]> {
  const changes: Change[] = [];
  const compare = (attribute: string, wanted: string | number | boolean | undefined, now: string | number | boolean | undefined) => {
    if (wanted !== undefined && wanted !== now) changes.push({ attribute, from: now ?? null, to: wanted });
  };
  compare('uid', want.uid, record.uid);
  compare('gid', want.gid, record.gid);
  if (want.group !== undefined) compare('group', want.group, (await platform.accounts?.group(String(record.gid)))?.name);
  if (want.groups !== undefined) compare('groups', sorted(want.groups).join(','), sorted(record.groups).join(','));
  compare('shell', want.shell, record.shell);
  compare('home', want.home, record.home);
  compare('comment', want.comment, record.comment);
  compare('locked', want.locked, record.locked);
  compare('password_max_age', want.password_max_age, record.aging.maxDays ?? -1);
  compare('password_min_age', want.password_min_age, record.aging.minDays ?? -1);
  compare('password_warn_days', want.password_warn_days, record.aging.warnDays ?? -1);
  if (want.expires !== undefined && expiryDays(want.expires) !== (record.expires ?? null))
    changes.push({ attribute: 'expires', from: record.expires ?? null, to: want.expires });
  if (want.password !== undefined && !(await passwordMatches(system, want.password, record.passwordHash)))
    changes.push({ attribute: 'password', from: '[secret]', to: '[secret]', secret: true });
  return changes;
}

/** What lies in files: home, keys, sudo right. */
async function attachedDrift(want: Want, record: UserRecord, context: ExecutorContext): Promise<Change[]> {
  const changes: Change[] = [];
  if (want.manage_home && want.home !== undefined && (await context.system.stat(want.home)) === undefined)
    changes.push({ attribute: 'home_folder', from: null, to: want.home });
  if (want.authorized_keys !== undefined) {
    const drift = await keysDrifted({ ...record, home: want.home ?? record.home }, want.authorized_keys, context);
    if (drift !== undefined) changes.push({ attribute: 'authorized_keys', from: drift, to: 'as wanted' });
  }
  if (want.sudo_nopasswd !== undefined && (await sudoDrifted(want.username, want.sudo_nopasswd, context)))
    changes.push({ attribute: 'sudo_nopasswd', from: !want.sudo_nopasswd, to: want.sudo_nopasswd });
  return changes;
}

async function accountChange(want: Want, drifted: (attribute: string) => boolean, { system }: ExecutorContext): Promise<UserChange> {
  const take = <T>(attribute: string, value: T | undefined): T | undefined => (drifted(attribute) ? value : undefined);
  const password = take('password', want.password);
  const aging = {
    maxDays: take('password_max_age', want.password_max_age),
    minDays: take('password_min_age', want.password_min_age),
    warnDays: take('password_warn_days', want.password_warn_days),
  };
  const expires = take('expires', want.expires);
  const all = {
    uid: take('uid', want.uid),
    primaryGroup: take('group', want.group) ?? (want.gid === undefined ? undefined : take('gid', String(want.gid))),
    groups: take('groups', want.groups === undefined ? undefined : sorted(want.groups)),
    shell: take('shell', want.shell),
    home: take('home', want.home),
    comment: take('comment', want.comment),
    locked: take('locked', want.locked),
    expires: expires === undefined ? undefined : expiryDays(expires),
    passwordHash: password === undefined ? undefined : await hashPassword(system, password),
    aging: Object.values(aging).every((value) => value === undefined) ? undefined : aging,
  };
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined)) as UserChange;
}
