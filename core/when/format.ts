/** A condition as text again; parsing the text gives the same condition. */
import type { Ast, WhenArg } from './ast.ts';

const LEVEL = { or: 1, and: 2, not: 3, bool: 4, action: 4, call: 4 } as const;

function formatArg(arg: WhenArg): string {
  if (arg.kind === 'number') return String(arg.value);
  const parts = arg.parts.map((part) =>
    typeof part === 'string' ? part.replace(/[\\']/g, '\\$&').replaceAll('\n', '\\n').replaceAll('\t', '\\t') : `{{${part.action}}}`,
  );
  return `'${parts.join('')}'`;
}

function formatBelow(ast: Ast, level: number): string {
  const text = formatWhen(ast);
  return LEVEL[ast.op] < level ? `(${text})` : text;
}

export function formatWhen(ast: Ast): string {
  switch (ast.op) {
    case 'or':
    case 'and':
      return `${formatBelow(ast.left, LEVEL[ast.op])} ${ast.op === 'or' ? '||' : '&&'} ${formatBelow(ast.right, LEVEL[ast.op] + 1)}`;
    case 'not':
      return `!${formatBelow(ast.of, 3)}`;
    case 'bool':
      return String(ast.value);
    case 'action':
      return `{{${ast.action}}}`;
    case 'call':
      return ast.args.length === 0 ? ast.name : `${ast.name}(${ast.args.map(formatArg).join(', ')})`;
  }
}
