/** Puts literal data in the place of some actions and leaves the others as they are (config.md §5.5, §7.5). */
import { type Span, type Template, TemplateSyntaxError } from './ast.ts';
import { lexTemplate } from './lexer.ts';
import { parseTemplate } from './parse.ts';

/** The data as an action that prints it, for data that would itself read as an action. */
function asAction(data: string): string {
  return `{{${JSON.stringify(data.toWellFormed())}}}`;
}

function spansOf(text: string): readonly Span[] {
  return lexTemplate(text).flatMap((piece) => (piece.kind === 'action' ? [piece.span] : []));
}

/**
 * The text with every action replaced for which `replace` gives a text. Data stays data: what looks like an action in it is quoted, so that it is not
 * evaluated later. Not for `when:` texts, where a replacement could add syntax; those are folded as trees. A text that does not parse comes back unchanged.
 */
export function substituteActions(text: string, replace: (action: { text: string; template: Template }) => string | undefined): string {
  if (!text.includes('{{')) return text;
  let spans: readonly Span[];
  try {
    spans = spansOf(text);
  } catch (error) {
    if (error instanceof TemplateSyntaxError) return text;
    throw error;
  }
  let result = '';
  let at = 0;
  let trim = false;
  for (const span of spans) {
    const source = text.slice(span.start, span.end);
    const { template } = parseTemplate(source, 'interpolation');
    const data = template === undefined ? undefined : replace({ text: source, template });
    let literal = text.slice(at, span.start);
    if (trim) literal = literal.trimStart();
    if (data === undefined) {
      result += literal + source;
    } else {
      if (span.trimBefore) literal = literal.trimEnd();
      result += literal;
      const next = span.trimAfter ? text.slice(span.end).trimStart() : text.slice(span.end);
      const touches = (result.endsWith('{') && data.startsWith('{')) || (data.endsWith('{') && next.startsWith('{'));
      result += data.includes('{{') || touches ? asAction(data) : data;
    }
    at = span.end;
    trim = data !== undefined && span.trimAfter;
  }
  const tail = text.slice(at);
  return result + (trim ? tail.trimStart() : tail);
}
