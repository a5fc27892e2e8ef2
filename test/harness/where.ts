/** Tests that need what not every machine has: skipped with their reason in one line, and counted. */
import { describe, test } from '@jest/globals';

/** @param missing why it cannot run here, or undefined when it can */
export function testUnless(missing: string | undefined): typeof test | typeof test.skip {
  if (missing === undefined) return test;
  process.stderr.write(`skipped: ${missing}\n`);
  return test.skip;
}

/** The same for a whole group. */
export function describeUnless(missing: string | undefined): typeof describe | typeof describe.skip {
  if (missing === undefined) return describe;
  process.stderr.write(`skipped: ${missing}\n`);
  return describe.skip;
}
