/** bcrypt off the main thread: guessing tokens must not cost the server its event loop. */
import { type MessagePort, parentPort } from 'node:worker_threads';
import bcrypt from 'bcryptjs';

export type BcryptJob = { readonly id: number; readonly secret: string } & ({ readonly hash: string } | { readonly cost: number });

const port = parentPort as unknown as MessagePort;
port.on('message', (job: BcryptJob) => {
  const result = 'hash' in job ? bcrypt.compareSync(job.secret, job.hash) : bcrypt.hashSync(job.secret, job.cost);
  port.postMessage({ id: job.id, result });
});
