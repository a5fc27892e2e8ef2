/** The benchmarks, in the order they run. */
import type { Bench } from './measure.ts';
import { checkIn } from './p1-check-in.ts';
import { memory } from './p4-memory.ts';
import { publish } from './p7-publish.ts';
import { agent } from './p10-agent.ts';
import { drain, fleet, moves } from './spanner.ts';

export const BENCHES: readonly Bench[] = [checkIn, memory, publish, agent, drain, fleet, moves];
