/** `vigocli spanner spoke drain`, `undrain`, `evacuate`, `push`. */
import { z } from 'zod';
import { cancelSpoke, drainSpoke, evacuateSpoke, pushSpoke, undrainSpoke } from '../../../core/api/spanner-moves.ts';
import { flag } from '../../../core/command/flags.ts';
import { printFields } from '../../../core/command/output.ts';
import { cliCommand, withClient } from '../../globals.ts';
import { showMoving } from './follow-batch.ts';

const positional = [{ name: 'id', summary: 'id of the spoke' }];
const to = flag.many('spokes that take the envoys (by pattern and weight)', { value: 'spoke' });
const maxRate = flag.text('2%/min or 10/s (spanner.move_rate_pct)', { value: 'rate' });
const noWait = flag.on('not until it is done');
const dryRun = flag.on('shows who would move where');
const several = (given: readonly string[]): string[] => given.flatMap((text) => text.split(',').map((id) => id.trim()));

export const spokeDrain = cliCommand({
  name: ['spanner', 'spoke', 'drain'],
  summary: 'empties a spoke: its envoys move to others, and it takes no more',
  flags: z.object({
    to,
    maxRate,
    deadline: flag.duration('for running tasks'),
    noWait,
    cancel: flag.on('ends a drain where it is'),
    dryRun,
  }),
  positional,
  run: (input, io) =>
    withClient(input, io, async (client, output) => {
      const params = { id: input.args[0]! };
      const { flags } = input;
      if (flags.cancel) {
        const reply = await client.call(cancelSpoke, { params });
        await showMoving(client, io, output, reply, false);
        return 0;
      }
      const body = {
        to: several(flags.to),
        max_rate: flags.maxRate,
        deadline_s: flags.deadline === undefined ? undefined : Math.max(1, Math.round(flags.deadline / 1000)),
        dry_run: flags.dryRun,
      };
      return showMoving(client, io, output, await client.call(drainSpoke, { params, body }), !flags.noWait);
    }),
});

export const spokeUndrain = cliCommand({
  name: ['spanner', 'spoke', 'undrain'],
  summary: 'takes a drained or draining spoke into service again',
  flags: z.object({ takeBack: flag.on('moves its former envoys back'), maxRate, noWait }),
  positional,
  run: (input, io) =>
    withClient(input, io, async (client, output) => {
      const { takeBack, maxRate: rate, noWait: leave } = input.flags;
      const reply = await client.call(undrainSpoke, { params: { id: input.args[0]! }, body: { take_back: takeBack, max_rate: rate } });
      return showMoving(client, io, output, reply, !leave);
    }),
});

export const spokeEvacuate = cliCommand({
  name: ['spanner', 'spoke', 'evacuate'],
  summary: 'gives the envoys of a dead spoke to others, from the copy of the hub',
  flags: z.object({ to, maxRate, confirm: flag.text('the id of the spoke once more', { value: 'id' }), noWait, dryRun }),
  positional,
  run: (input, io) =>
    withClient(input, io, async (client, output) => {
      const { flags } = input;
      const body = { to: several(flags.to), max_rate: flags.maxRate, confirm: flags.confirm, dry_run: flags.dryRun };
      const reply = await client.call(evacuateSpoke, { params: { id: input.args[0]! }, body });
      return showMoving(client, io, output, reply, !flags.noWait);
    }),
});

export const spokePush = cliCommand({
  name: ['spanner', 'spoke', 'push'],
  summary: 'asks all envoys of a spoke for an early check-in, spread',
  flags: z.object({ spread: flag.duration('time over which they are spread (60s)') }),
  positional,
  run: (input, io) =>
    withClient(input, io, async (client, output) => {
      const { spread } = input.flags;
      const body = { spread_s: spread === undefined ? 60 : Math.round(spread / 1000) };
      const reply = await client.call(pushSpoke, { params: { id: input.args[0]! }, body });
      printFields(io, output, [['asked', reply.envoys]], reply);
      return 0;
    }),
});
