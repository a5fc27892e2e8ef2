/** `vigocli envoys show`. */
import { z } from 'zod';
import { envoyTraits, getEnvoy } from '../../../core/api/envoys.ts';
import { flag } from '../../../core/command/flags.ts';
import { formatJson, formatTable, formatTime, printFields } from '../../../core/command/output.ts';
import { cliCommand, withClient } from '../../globals.ts';
import { RUN_COLUMNS } from '../runs/columns.ts';

export const envoysShow = cliCommand({
  name: ['envoys', 'show'],
  summary: 'shows one envoy',
  flags: z.object({ traits: flag.on('its traits too') }),
  positional: [{ name: 'envoy', summary: 'UUID, host name, or a unique prefix' }],
  run: (input, io) =>
    withClient(input, io, async (client, output) => {
      const params = { id: input.args[0]! };
      const envoy = await client.call(getEnvoy, { params });
      const traits = input.flags.traits ? (await client.call(envoyTraits, { params: { id: envoy.id } })).traits : undefined;
      printFields(
        io,
        output,
        [
          ['id', envoy.id],
          ['hostname', envoy.hostname],
          ['spoke', envoy.spoke],
          ['status', envoy.reason === '' ? envoy.status : `${envoy.status} (${envoy.reason})`],
          ['state', `${envoy.state}${envoy.detail === '' ? '' : ` (${envoy.detail})`}, streak ${envoy.streak}, drift ${envoy.drift}`],
          ['last seen', formatTime(envoy.last_seen, output)],
          ['release', envoy.release],
          ['policy', envoy.policy_hash],
          ['entry', envoy.entry],
          ['environment', envoy.environment],
          ['roles', envoy.roles.join(', ')],
          ['flags', envoy.flags.join(', ')],
          [
            'labels',
            Object.entries(envoy.labels)
              .map(([key, value]) => `${key}=${value}`)
              .join(' '),
          ],
          ['platform', `${envoy.platform}, agent ${envoy.agent_version}`],
          ['address', envoy.address],
          ['owner epoch', envoy.owner_epoch],
          ['identity key', envoy.identity_key_fingerprint],
          ['sealing key', envoy.sealing_key_fingerprint],
          ['enrolled', formatTime(envoy.enrolled_at, output)],
          ['certificate until', formatTime(envoy.certificate_expires_at, output)],
        ],
        traits === undefined ? envoy : { ...envoy, traits },
      );
      if (output.form === 'json') return 0;
      if (envoy.runs.length > 0) io.out(`\nlast runs\n${formatTable(RUN_COLUMNS, envoy.runs, output)}`);
      if (traits !== undefined) io.out(`\ntraits\n${formatJson(traits)}`);
      return 0;
    }),
});
