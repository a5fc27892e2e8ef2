/** Prints `N passed, N failed, N skipped` as the very last line, after Jest's own summary. */
export default class PlainCountReporter {
  onRunComplete(_contexts, results) {
    const failed = results.numFailedTests + results.numRuntimeErrorTestSuites;
    const skipped = results.numPendingTests + results.numTodoTests;
    process.once('exit', () => process.stdout.write(`\n${results.numPassedTests} passed, ${failed} failed, ${skipped} skipped\n`));
  }
}
