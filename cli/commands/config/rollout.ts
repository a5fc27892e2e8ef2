/** Follows a release through the rings of a hub. */
import { configStatus } from '../../../core/api/config.ts';
import { systemClock } from '../../../core/base/clock.ts';
import type { CommandIo } from '../../../core/command/command.ts';
import { progress } from '../../../core/command/output.ts';
import type { ApiClient } from '../../api-client.ts';
import type { outputOf } from '../../globals.ts';

const POLL_MS = 1_000;

/** 0 when every ring did well; 1 when the release was taken back, stopped, or replaced by another. */
export async function followRollout(
  client: ApiClient,
  io: CommandIo,
  output: ReturnType<typeof outputOf>,
  number: number | null,
): Promise<number> {
  let shown = '';
  for (;;) {
    const { rollout } = await client.call(configStatus);
    if (rollout === undefined || rollout === null || rollout.number !== number) {
      io.err('this release is not on its way by rings any more\n');
      return 1;
    }
    if (rollout.state === 'done') {
      io.err(`release ${rollout.number} is through all rings\n`);
      return 0;
    }
    if (rollout.state !== 'running' && rollout.state !== 'preparing') {
      io.err(`release ${rollout.number} is ${rollout.state}${rollout.error === null ? '' : `: ${rollout.error}`}\n`);
      return 1;
    }
    const text = `ring ${rollout.ring ?? 'none yet'} of ${rollout.rings.join(', ')}`;
    if (text !== shown) progress(io, output, text);
    shown = text;
    await systemClock.sleep(POLL_MS, io.signal);
    if (io.signal.aborted) return 1;
  }
}
