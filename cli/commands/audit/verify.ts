/** `vigocli audit verify`, `checkpoint`, `proof`. */
import { readFileSync, writeFileSync } from 'node:fs';
import { z } from 'zod';
import { auditProof, listCheckpoints, verifyAuditLog } from '../../../core/api/audit.ts';
import { CodedError } from '../../../core/base/errors.ts';
import { flag } from '../../../core/command/flags.ts';
import { escapeCell, formatJson, printFields } from '../../../core/command/output.ts';
import { leafHash, verifyInclusion } from '../../../core/crypto/merkle-log.ts';
import { cliCommand, withClient } from '../../globals.ts';

export const auditVerify = cliCommand({
  name: ['audit', 'verify'],
  summary: 'verifies every record, checkpoint and signature; exit 1 with the findings',
  flags: z.object({
    checkpoint: flag.many('file with a checkpoint kept elsewhere', { value: 'file' }),
    acknowledge: flag.on('accept changes again although findings stand; recorded, role admin'),
  }),
  run: (input, io) =>
    withClient(input, io, async (client, output) => {
      const checkpoints = input.flags.checkpoint.map((file) => readFileSync(file, 'utf8'));
      const reply = await client.call(verifyAuditLog, { body: { checkpoints, ...(input.flags.acknowledge ? { acknowledge: true } : {}) } });
      if (output.form === 'json') io.out(formatJson(reply));
      else {
        for (const { kind, seq, message } of reply.findings) io.err(`${seq}: ${kind}: ${escapeCell(message)}\n`);
        io.out(
          reply.ok
            ? `${reply.records} records hold\n`
            : `${reply.findings.length} findings in ${reply.records} records, the first at ${reply.findings[0]?.seq}\n`,
        );
      }
      return reply.ok ? 0 : 1;
    }),
});

export const auditCheckpoint = cliCommand({
  name: ['audit', 'checkpoint'],
  summary: 'the newest signed checkpoint; keep it somewhere else',
  flags: z.object({ out: flag.text('write it to this file', { value: 'file' }) }),
  run: (input, io) =>
    withClient(input, io, async (client, output) => {
      const { items } = await client.call(listCheckpoints, { query: { newest: 'true' } });
      const [newest] = items;
      if (newest === undefined) throw new CodedError('NOT_FOUND', 'there is no checkpoint yet');
      if (input.flags.out !== undefined) writeFileSync(input.flags.out, newest.note, { mode: 0o640 });
      if (output.form === 'json') io.out(formatJson(newest));
      else if (input.flags.out === undefined) io.out(newest.note);
      return 0;
    }),
});

/** The tree size and root of a note, as far as the proof needs them. */
function rootOf(note: string): { readonly size: number; readonly root: Buffer } {
  const [, size = '', root = ''] = note.split('\n');
  return { size: Number(size), root: Buffer.from(root, 'base64') };
}

export const auditProofCommand = cliCommand({
  name: ['audit', 'proof'],
  summary: 'proves that a record is in the log, and checks the proof here',
  flags: z.object({ out: flag.text('write the proof to this file', { value: 'file' }) }),
  positional: [{ name: 'seq', summary: 'number of the record' }],
  run: (input, io) =>
    withClient(input, io, async (client, output) => {
      const seq = Number(input.args[0]);
      if (!Number.isSafeInteger(seq) || seq < 0) throw new CodedError('USAGE', `"${input.args[0]}" is no sequence number`);
      const proof = await client.call(auditProof, { params: { seq } });
      const { size, root } = rootOf(proof.checkpoint);
      const leaf = leafHash(Buffer.from(proof.record, 'utf8'));
      const holds =
        size === proof.size &&
        verifyInclusion(
          leaf,
          seq,
          size,
          proof.path.map((hash) => Buffer.from(hash, 'base64')),
          root,
        );
      if (input.flags.out !== undefined) writeFileSync(input.flags.out, formatJson(proof), { mode: 0o640 });
      printFields(
        io,
        output,
        [
          ['record', proof.record],
          ['tree size', size],
          ['root', root.toString('base64')],
          ['proof', holds ? 'holds' : 'does not hold'],
        ],
        { ...proof, holds },
      );
      return holds ? 0 : 1;
    }),
});
