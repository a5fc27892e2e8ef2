/** How command texts of resources are run: the text is one argument of the shell, never part of a built command line. */
export function shellCommand(text: string): readonly [string, string, string] {
  return ['/bin/sh', '-c', text];
}

/** A word that the shell takes literally. */
export function quoted(word: string): string {
  return `'${word.replaceAll("'", `'\\''`)}'`;
}
