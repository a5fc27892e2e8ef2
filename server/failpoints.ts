/** Places where a test may let the process die as a power cut would: one table of names, armed only with `vigosrv run --failpoints`. */
import { CodedError } from '../core/base/errors.ts';

/** In the order in which a move passes them: hub first, then what a site does for it; then those of enrolment. */
export const FAILPOINTS = [
  'move.intent.before',
  'move.intent.written',
  'move.exported',
  'move.prepared',
  'move.ready.written',
  'move.commit.before',
  'move.commit.written',
  'move.target.activated',
  'move.source.departed',
  'move.late.delivered',
  'move.confirmed.before',
  'move.confirmed.written',
  'move.forgotten',
  'move.undone.written',
  'move.undo.acked',
  'roster.merged',
  'drain.started',
  'drain.batch.begun',
  'drain.drained.before',
  'drain.drained.written',
  'site.export.read',
  'site.prepare.before',
  'site.prepare.stored',
  'site.activate.before',
  'site.activate.stored',
  'site.depart.before',
  'site.depart.stored',
  'site.late.stored',
  'site.undo.stored',
  'site.forget.stored',
  'site.confirm.sent',
  'enroll.spent',
  'enroll.ordered',
  'site.enroll.made',
  'site.permit.taken',
  'permit.minted',
  'release.fetched',
  'release.written',
  'release.swapped',
] as const;
export type Failpoint = (typeof FAILPOINTS)[number];

/** What stands at a failpoint: nothing in a server, a crash in tests. */
export type AtFailpoint = (name: Failpoint) => void;

let armed: Map<Failpoint, number> | undefined;

/**
 * @param text `name=kill` or `name=kill:3` (the third time), several with `,` between
 * @throws CodedError USAGE for a name that is not in the table
 */
export function armFailpoints(text: string): void {
  const wanted = new Map<Failpoint, number>();
  for (const item of text.split(',')) {
    const match = /^([a-z.]+)=kill(?::([1-9]\d{0,6}))?$/.exec(item.trim());
    const name = FAILPOINTS.find((known) => known === match?.[1]);
    if (match === null || name === undefined)
      throw new CodedError('USAGE', `"${item.trim()}" names no failpoint`, { hint: 'VIGO_FAILPOINTS="move.intent.written=kill:2"' });
    wanted.set(name, Number(match[2] ?? 1));
  }
  armed = wanted;
}

/** Kills this process when it was told to die here. */
export const failpoint: AtFailpoint = (name) => {
  const left = armed?.get(name);
  if (left === undefined) return;
  if (left > 1) armed?.set(name, left - 1);
  else process.kill(process.pid, 'SIGKILL');
};
