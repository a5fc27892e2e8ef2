/** A spoke that is offered a second release by a hub in the same process and is killed after a step: `node receive-and-die.ts <data directory> <step>`. */
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { BY_ALICE, writeStage } from './publishing.ts';
import { openHub, openSpoke } from './two-sites.ts';

const [, , directory, step] = process.argv;
const die = (done: string) => {
  if (done === step) process.kill(process.pid, 'SIGKILL');
};
const hub = await openHub(mkdtempSync(join(tmpdir(), 'vigo-hub-')));
const spoke = await openSpoke(directory!, 'dc1', { onStep: die }, new Set(), () => die('fetched'));
for (const port of [80, 81]) {
  writeStage(hub.directory, {
    'web.vgo': `match: "web*"\nmodules: [site]\nvars: { port: ${port} }\n`,
    'modules/site.vgo': 'name: site\nresources:\n  - { name: conf, type: file, target_path: /etc/site, source: templates/site.conf }\n',
    'templates/site.conf': 'port {{ .Vars.port }}\n',
  });
  await hub.publisher.publish(BY_ALICE);
}
await hub.link(spoke);
await spoke.taker.idle();
process.stdout.write(`not killed: ${spoke.publisher.live?.number ?? 0}\n`);
process.exit(0);
