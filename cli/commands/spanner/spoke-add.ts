/** `vigocli spanner spoke add`. */
import { z } from 'zod';
import { addSpoke } from '../../../core/api/spanner.ts';
import { flag } from '../../../core/command/flags.ts';
import { formatJson, formatTime } from '../../../core/command/output.ts';
import { cliCommand, withClient } from '../../globals.ts';
import { labelsOf } from '../tokens/create.ts';

/** The flags that describe a spoke, for `add` and `set`. */
export const spokeFlags = {
  pattern: flag.many('hostnames that belong to it', { value: 'glob' }),
  addr: flag.text('address that agents dial', { value: 'host:port' }),
  fallback: flag.many('address of another server of the site', { value: 'host:port' }),
  weight: flag.whole('share among spokes with an equal pattern (100)'),
  label: flag.many('label of the spoke', { value: 'k=v' }),
};

export function spokeBody(flags: {
  readonly pattern: readonly string[];
  readonly addr?: string | undefined;
  readonly fallback: readonly string[];
  readonly weight?: number | undefined;
  readonly label: readonly string[];
}) {
  const { pattern, addr, fallback, weight, label } = flags;
  return {
    ...(pattern.length === 0 ? {} : { patterns: [...pattern] }),
    ...(addr === undefined ? {} : { addr }),
    ...(fallback.length === 0 ? {} : { fallback: [...fallback] }),
    ...(weight === undefined ? {} : { weight }),
    ...(label.length === 0 ? {} : { labels: labelsOf(label) }),
  };
}

export const spokeAdd = cliCommand({
  name: ['spanner', 'spoke', 'add'],
  summary: 'adds a spoke; its join token and a ready server.yaml are shown once',
  flags: z.object({ ...spokeFlags, ttl: flag.duration('life of the join token (24h)') }),
  positional: [{ name: 'id', summary: 'id of the new spoke' }],
  run: (input, io) =>
    withClient(input, io, async (client, output) => {
      const { ttl, ...flags } = input.flags;
      const body = { id: input.args[0]!, ...spokeBody(flags), ...(ttl === undefined ? {} : { ttl_s: Math.ceil(ttl / 1000) }) };
      const added = await client.call(addSpoke, { body });
      if (output.form === 'json') {
        io.out(formatJson(added));
        return 0;
      }
      io.out(`${added.token}\n`);
      if (output.quiet) return 0;
      io.err(
        `\nUsable once, until ${formatTime(added.expires_at, output)}. On the new server, with the line above in a file join.token:\n`,
      );
      io.err(`  vigosrv init --role spoke --hub-addr ${hubOf(added.server_yaml)} --join-token-file join.token\n  vigosrv run\n`);
      io.err(`\nIts server.yaml:\n${added.server_yaml.replace(/^/gm, '  ').trimEnd()}\n`);
      return 0;
    }),
});

function hubOf(serverYaml: string): string {
  return /hub_addr:\s*\n\s*-\s*(\S+)/.exec(serverYaml)?.[1] ?? '<hub:1530>';
}
