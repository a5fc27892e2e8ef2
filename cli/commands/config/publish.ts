/** `vigocli config publish`, `rollback`. */
import { z } from 'zod';
import { publishConfig, rollbackConfig } from '../../../core/api/config.ts';
import { CodedError } from '../../../core/base/errors.ts';
import { flag } from '../../../core/command/flags.ts';
import { progress } from '../../../core/command/output.ts';
import { cliCommand, confirmed, withClient } from '../../globals.ts';
import { printPublish } from './findings.ts';
import { followRollout } from './rollout.ts';

export const configPublish = cliCommand({
  name: ['config', 'publish'],
  summary: 'validates the stage, shows what changes, and makes it live',
  flags: z.object({
    message: flag.text('for the history', { short: 'm' }),
    dryRun: flag.on('show what would change, publish nothing'),
    dangerous: flag.on('accept findings that may be overridden'),
    skipUrlCheck: flag.on('do not ask URLs whether they are alive'),
    reason: flag.text('why, with --dangerous'),
    root: flag.text('publish only this root hash', { value: 'hash' }),
    strict: flag.on('warnings refuse too'),
    rings: flag.on('at a hub: spoke after spoke, as publish.rings says; one that does badly takes all back'),
    noWait: flag.on('with --rings: do not wait for the last ring'),
  }),
  run: (input, io) =>
    withClient(input, io, async (client, output) => {
      const { dryRun, skipUrlCheck, noWait, ...flags } = input.flags;
      const isFollowed = flags.rings && !noWait && !dryRun;
      const body = { ...flags, skip_url_check: skipUrlCheck };
      if (dryRun || input.globals.yes || !io.stdinIsTerminal || output.form === 'json') {
        progress(io, output, 'validating and publishing');
        const result = await client.call(publishConfig, { body: { ...body, dry_run: dryRun } });
        const exit = printPublish(io, output, result);
        return isFollowed && result.status === 'live' ? followRollout(client, io, output, result.number) : exit;
      }
      progress(io, output, 'validating');
      const preview = await client.call(publishConfig, { body: { ...body, dry_run: true } });
      const exit = printPublish(io, output, preview);
      if (preview.status !== 'dry_run') return exit;
      if (!(await confirmed(input, io, 'make it live?'))) throw new CodedError('USAGE', 'not confirmed', { hint: 'nothing was published' });
      // the stage that was shown, and no other
      const result = await client.call(publishConfig, { body: { ...body, root: preview.root } });
      const last = printPublish(io, output, { ...result, findings: [], files: { added: [], changed: [], removed: [] } });
      return isFollowed && result.status === 'live' ? followRollout(client, io, output, result.number) : last;
    }),
});

export const configRollback = cliCommand({
  name: ['config', 'rollback'],
  summary: 'publishes an earlier release again, by default the one before the live one',
  flags: z.object({ message: flag.text('for the history', { short: 'm' }), dangerous: flag.on('accept findings that may be overridden') }),
  positional: [{ name: 'number', summary: 'number of the release', optional: true }],
  run: (input, io) =>
    withClient(input, io, async (client, output) => {
      const [text] = input.args;
      if (text !== undefined && !/^[1-9]\d{0,8}$/.test(text)) throw new CodedError('USAGE', `"${text}" is no release number`);
      const which = text === undefined ? 'the release before the live one' : `release ${text}`;
      if (io.stdinIsTerminal && !(await confirmed(input, io, `roll back to ${which}?`)))
        throw new CodedError('USAGE', 'not confirmed', { hint: '--yes answers the question' });
      const result = await client.call(rollbackConfig, { body: { ...input.flags, number: text === undefined ? undefined : Number(text) } });
      const exit = printPublish(io, output, result);
      if (result.status === 'live') io.err('the stage was left as it is and may differ from what is live\n');
      return exit;
    }),
});
