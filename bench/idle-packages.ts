/** The floor of an agent: its largest packages loaded, nothing done with them. */
import { credentials } from '@grpc/grpc-js';
import { open } from 'lmdb';
import sodium from 'sodium-native';

process.stdout.write(`${typeof credentials} ${typeof open} ${typeof sodium}\n`);
setInterval(() => undefined, 60_000);
