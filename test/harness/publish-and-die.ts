/** A process that publishes and is killed after a step: `node publish-and-die.ts <data directory> <step>`. */
import { BY_ALICE, openPublishing } from './publishing.ts';

const [, , directory, step] = process.argv;
const { publisher, secrets } = await openPublishing(directory!, {
  onStep: (done) => {
    if (done === step) process.kill(process.pid, 'SIGKILL');
  },
});
secrets.values.set('a/b', { value: Buffer.from('x'), version: '1' });
await publisher.start();
const { status } = await publisher.publish(BY_ALICE);
process.stdout.write(`not killed: ${status}\n`);
process.exit(0);
