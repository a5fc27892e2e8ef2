/** Text to template (config.md §8.2, §8.4): the language subset of Go's text/template that vigo speaks. */
import { type Node, type Pipe, type Template, type TemplateMode, type TemplateProblem, TemplateSyntaxError } from './ast.ts';
import { lexTemplate, type Piece } from './lexer.ts';
import { expectEnd, KEYWORDS, readPipe, TokenCursor } from './pipeline.ts';

export type { Template, TemplateMode, TemplateProblem } from './ast.ts';

const MAX_NESTING = 100;

interface Closed {
  readonly nodes: readonly Node[];
  readonly by: 'end' | 'else' | 'eof';
  /** `if` after `else` */
  readonly elseIf?: TokenCursor | undefined;
}

class TemplateParser {
  readonly #pieces: readonly Piece[];
  readonly #mode: TemplateMode;
  readonly defined = new Map<string, readonly Node[]>();
  #next = 0;
  #variables: string[] = ['$'];
  #ranges = 0;
  #depth = 0;
  readonly #length: number;

  constructor(text: string, mode: TemplateMode) {
    this.#pieces = lexTemplate(text);
    this.#mode = mode;
    this.#length = text.length;
  }

  parse(): readonly Node[] {
    const { nodes, by } = this.#list(true);
    if (by !== 'eof') throw new TemplateSyntaxError('TPL-1', `unexpected {{${by}}}`, this.#offsetBefore());
    return nodes;
  }

  #offsetBefore(): number {
    const piece = this.#pieces[this.#next - 1];
    return piece?.kind === 'action' ? piece.span.start : 0;
  }

  #list(top: boolean): Closed {
    if (++this.#depth > MAX_NESTING) throw new TemplateSyntaxError('TPL-1', `blocks nest deeper than ${MAX_NESTING}`, this.#offsetBefore());
    const nodes: Node[] = [];
    for (;;) {
      const piece = this.#pieces[this.#next];
      this.#next++;
      if (piece === undefined) return this.#close({ nodes, by: 'eof' });
      if (piece.kind === 'text') {
        nodes.push(piece);
        continue;
      }
      const cursor = new TokenCursor(piece.tokens, this.#variables, this.#mode === 'content');
      const first = cursor.skipSpace();
      if (first.kind !== 'word' || !KEYWORDS.has(first.text)) {
        const pipe = readPipe(cursor, 'command', 1);
        expectEnd(cursor, 'command');
        nodes.push({ kind: 'action', pipe, span: piece.span });
        continue;
      }
      if (this.#mode === 'interpolation')
        throw new TemplateSyntaxError(
          'TPL-3',
          `"${first.text}" outside content`,
          first.offset,
          'control structures are allowed in content and template files only',
        );
      cursor.take();
      if (first.text === 'end') {
        expectEnd(cursor, 'end');
        return this.#close({ nodes, by: 'end' });
      }
      if (first.text === 'else') {
        const next = cursor.skipSpace();
        const elseIf = next.kind === 'word' && next.text === 'if';
        if (elseIf) cursor.take();
        else expectEnd(cursor, 'else');
        return this.#close({ nodes, by: 'else', elseIf: elseIf ? cursor : undefined });
      }
      const node = this.#keyword(first.text, cursor, first.offset, top);
      if (node !== undefined) nodes.push(node);
    }
  }

  #close(closed: Closed): Closed {
    this.#depth--;
    return closed;
  }

  #keyword(word: string, cursor: TokenCursor, offset: number, top: boolean): Node | undefined {
    if (word === 'if' || word === 'with' || word === 'range') return this.#control(word, cursor, offset);
    if (word === 'template') {
      const name = this.#name(cursor, word);
      const pipe = cursor.skipSpace().kind === 'end' ? undefined : readPipe(cursor, 'template clause', 1);
      expectEnd(cursor, 'template clause');
      return { kind: 'template', name, pipe, offset };
    }
    if (word === 'block') {
      const name = this.#name(cursor, word);
      const pipe = readPipe(cursor, 'block clause', 1);
      expectEnd(cursor, 'block clause');
      this.#define(name, offset);
      return { kind: 'template', name, pipe, offset };
    }
    if (word === 'define') {
      if (!top) throw new TemplateSyntaxError('TPL-1', 'unexpected {{define}}', offset);
      const name = this.#name(cursor, word);
      expectEnd(cursor, 'define clause');
      this.#define(name, offset);
      return undefined;
    }
    expectEnd(cursor, word);
    if (this.#ranges === 0) throw new TemplateSyntaxError('TPL-1', `{{${word}}} outside {{range}}`, offset);
    return { kind: word === 'break' ? 'break' : 'continue' };
  }

  #name(cursor: TokenCursor, word: string): string {
    const token = cursor.skipSpace();
    if (token.kind !== 'string') throw new TemplateSyntaxError('TPL-1', `${word} needs a name in quotes`, token.offset);
    cursor.take();
    return token.text;
  }

  /** The body of a define or block: its own variables, no range around it. */
  #define(name: string, offset: number): void {
    const outer = { variables: this.#variables, ranges: this.#ranges };
    this.#variables = ['$'];
    this.#ranges = 0;
    const { nodes, by } = this.#list(false);
    if (by !== 'end')
      throw new TemplateSyntaxError(
        'TPL-1',
        by === 'eof' ? 'unexpected end of template' : 'unexpected {{else}}',
        by === 'eof' ? this.#length : offset,
      );
    this.#variables = outer.variables;
    this.#ranges = outer.ranges;
    const before = this.defined.get(name);
    const isEmpty = (list: readonly Node[]) => list.every((node) => node.kind === 'text' && node.text.trim() === '');
    if (before !== undefined && !isEmpty(before)) {
      if (isEmpty(nodes)) return;
      throw new TemplateSyntaxError('TPL-1', `multiple definition of template "${name}"`, offset);
    }
    this.defined.set(name, nodes);
  }

  #control(kind: 'if' | 'with' | 'range', cursor: TokenCursor, offset: number): Node {
    const mark = this.#variables.length;
    const pipe: Pipe = readPipe(cursor, kind, kind === 'range' ? 2 : 1);
    expectEnd(cursor, kind);
    if (kind === 'range') this.#ranges++;
    const first = this.#list(false);
    if (kind === 'range') this.#ranges--;
    let otherwise: readonly Node[] = [];
    if (first.by === 'else') {
      if (first.elseIf !== undefined) {
        if (kind !== 'if') throw new TemplateSyntaxError('TPL-1', `unexpected <if> in else of ${kind}`, this.#offsetBefore());
        otherwise = [this.#nested(() => this.#control('if', first.elseIf!, offset))];
      } else {
        const second = this.#list(false);
        if (second.by === 'else') throw new TemplateSyntaxError('TPL-1', 'expected end, found {{else}}', this.#offsetBefore());
        if (second.by === 'eof') throw this.#unclosed(kind);
        otherwise = second.nodes;
      }
    } else if (first.by === 'eof') throw this.#unclosed(kind);
    this.#variables.length = mark;
    return { kind, pipe, body: first.nodes, otherwise };
  }

  #nested<T>(read: () => T): T {
    if (++this.#depth > MAX_NESTING) throw new TemplateSyntaxError('TPL-1', `blocks nest deeper than ${MAX_NESTING}`, this.#offsetBefore());
    const result = read();
    this.#depth--;
    return result;
  }

  #unclosed(kind: string): TemplateSyntaxError {
    return new TemplateSyntaxError('TPL-1', `unexpected end of template: {{${kind}}} has no {{end}}`, this.#length);
  }
}

/** Parses a text; the first fault ends parsing, so there is a template or one problem. */
export function parseTemplate(text: string, mode: TemplateMode): { template: Template | undefined; problems: readonly TemplateProblem[] } {
  try {
    const parser = new TemplateParser(text, mode);
    const nodes = parser.parse();
    return { template: { text, nodes, defined: parser.defined }, problems: [] };
  } catch (error) {
    if (error instanceof TemplateSyntaxError) return { template: undefined, problems: [error.problem] };
    throw error;
  }
}
