/** `npm run docs` writes docs/reference; `npm run check:docs` compares and says which page is stale. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { referencePages } from './pages.ts';

const folder = fileURLToPath(new URL('../../docs/reference', import.meta.url));
const check = process.argv.includes('--check');
mkdirSync(folder, { recursive: true });
const stale: string[] = [];
for (const [name, text] of referencePages()) {
  const file = join(folder, name);
  if (!check) writeFileSync(file, text);
  else if (read(file) !== text) stale.push(name);
}
if (stale.length > 0) {
  process.stderr.write(`stale pages in docs/reference: ${stale.join(', ')}; run npm run docs\n`);
  process.exitCode = 1;
}

function read(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    // missing is as stale as different
    return '';
  }
}
