/** A process that writes until it is killed, and says after each commit what is durable: `<counter> <audit size>`. */
import { systemClock } from '../../core/base/clock.ts';
import { createTrail } from '../../server/audit/trail.ts';
import { openDatabase } from '../../server/store/database.ts';

const [path = ''] = process.argv.slice(2);
const store = await openDatabase({ driver: 'sqlite', path, busyTimeoutMs: 1000, create: true }, Date.now());
const trail = createTrail({ clock: systemClock, site: 'main', epoch: () => 1 });
for (;;) {
  const line = await store.transaction(async (tx) => {
    const value = await tx.counters.next('written');
    const actor = { kind: 'system', id: 'writer', name: 'writer' } as const;
    const seq = await trail.record(tx, { actor, event: 'settings.changed', outcome: 'ok', requestId: '', data: { value } });
    return `${value} ${seq + 1}\n`;
  });
  process.stdout.write(line);
}
