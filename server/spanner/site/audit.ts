/** Lets the hub read the audit log, piece by piece, each piece ending at a checkpoint that this site has signed. */
import type { Checkpointer } from '../../audit/checkpoint.ts';
import type { Store } from '../../store/store.ts';
import { auditPull } from '../kinds/audit.ts';
import { type Answer, answersWithData } from '../link.ts';

export function answerAuditPulls(site: {
  readonly store: Pick<Store, 'audit' | 'checkpoints'>;
  readonly checkpointer: Pick<Checkpointer, 'make'>;
}): Answer {
  const { store, checkpointer } = site;
  return answersWithData(auditPull, async ({ from, limit }) => {
    // what nobody has signed yet is signed now: the hub takes nothing else
    const newest = (await checkpointer.make()) ?? '';
    const { size } = await store.audit.head();
    if (from >= size) return { body: { size, checkpoint: newest }, data: Buffer.from('[]') };
    const ahead = await store.checkpoints.list(from + 1, limit);
    const end = ahead.filter((row) => row.size <= from + limit).at(-1) ?? ahead[0];
    const records: string[] = [];
    if (end !== undefined) for await (const { record } of store.audit.read(from, end.size)) records.push(record);
    return { body: { size, checkpoint: end?.note ?? newest }, data: Buffer.from(JSON.stringify(records)) };
  });
}
