/** `vigocli completion bash|zsh|fish`: scripts made from the commands themselves. */
import { z } from 'zod';
import { CodedError } from '../../../core/base/errors.ts';
import { kebab } from '../../../core/command/flags.ts';
import { type CliCommand, cliCommand, cliGlobals } from '../../globals.ts';

function flagsOf(shape: object): string[] {
  return Object.keys(shape).map((name) => `--${kebab(name)}`);
}

interface Words {
  readonly nouns: readonly string[];
  readonly verbs: ReadonlyMap<string, readonly string[]>;
  readonly flags: ReadonlyMap<string, readonly string[]>;
}

function wordsOf(commands: readonly CliCommand[]): Words {
  const nouns = [...new Set(commands.map(({ name }) => name[0]))];
  const verbs = new Map(
    nouns.map((noun) => [noun, commands.filter(({ name }) => name[0] === noun && name.length > 1).map(({ name }) => name[1]!)]),
  );
  const flags = new Map(commands.map(({ name, flags: own }) => [name.join(' '), [...flagsOf(own.shape), ...flagsOf(cliGlobals.shape)]]));
  return { nouns, verbs, flags };
}

function bash({ nouns, verbs, flags }: Words): string {
  const cases = [...flags].map(([name, words]) => `    "${name}") words="${words.join(' ')}" ;;`).join('\n');
  const nounCases = [...verbs]
    .filter(([, list]) => list.length > 0)
    .map(([noun, list]) => `      ${noun}) words="${list.join(' ')}" ;;`)
    .join('\n');
  return `# bash completion of vigocli
_vigocli() {
  local cur="\${COMP_WORDS[COMP_CWORD]}" words=""
  if [[ $COMP_CWORD -eq 1 ]]; then words="${nouns.join(' ')}"
  elif [[ $COMP_CWORD -eq 2 && $cur != -* ]]; then
    case "\${COMP_WORDS[1]}" in
${nounCases}
    esac
  else
    case "\${COMP_WORDS[1]} \${COMP_WORDS[2]}" in
${cases}
    esac
  fi
  COMPREPLY=( $(compgen -W "$words" -- "$cur") )
}
complete -o default -F _vigocli vigocli
`;
}

function zsh(words: Words): string {
  return `#compdef vigocli\nautoload -U +X bashcompinit && bashcompinit\n${bash(words)}`;
}

function fish({ nouns, verbs, flags }: Words): string {
  const lines = [
    '# fish completion of vigocli',
    'complete -c vigocli -f',
    `complete -c vigocli -n __fish_use_subcommand -a "${nouns.join(' ')}"`,
  ];
  for (const [noun, list] of verbs)
    if (list.length > 0)
      lines.push(
        `complete -c vigocli -n "__fish_seen_subcommand_from ${noun}; and not __fish_seen_subcommand_from ${list.join(' ')}" -a "${list.join(' ')}"`,
      );
  for (const [name, words] of flags) {
    const seen = name.split(' ').map((word) => `__fish_seen_subcommand_from ${word}`);
    for (const word of words) lines.push(`complete -c vigocli -n "${seen.join('; and ')}" -l ${word.slice(2)}`);
  }
  return `${lines.join('\n')}\n`;
}

/** @param commands all others; the registry hands them over */
export function completionOf(commands: readonly CliCommand[]): CliCommand {
  return cliCommand({
    name: ['completion'],
    summary: 'a completion script for bash, zsh or fish',
    flags: z.object({}),
    positional: [{ name: 'shell', summary: 'bash, zsh or fish' }],
    run: ({ args }, io) => {
      const make = { bash, zsh, fish }[args[0]!];
      if (make === undefined) throw new CodedError('USAGE', `no completion for "${args[0]}"`, { hint: 'bash, zsh or fish' });
      io.out(make(wordsOf(commands)));
      return Promise.resolve(0);
    },
  });
}
