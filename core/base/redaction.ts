/** Replaces known secret values, and their base64, URL-encoded, hex and JSON-escaped forms, by `[secret]` (config.md §9.5). */

const MIN_LENGTH = 4;

function formsOf(value: string): string[] {
  const bytes = Buffer.from(value, 'utf8');
  const forms = [
    value,
    bytes.toString('base64'),
    bytes.toString('base64').replace(/=+$/, ''),
    bytes.toString('base64url'),
    bytes.toString('hex'),
    encodeURIComponent(value),
    JSON.stringify(value).slice(1, -1),
  ];
  return forms.filter((form) => form.length >= MIN_LENGTH);
}

export class Redactor {
  readonly #forms = new Set<string>();
  #sorted: string[] = [];

  /** Values under 4 bytes are not filtered (they would hit everything). */
  add(value: string): void {
    if (Buffer.byteLength(value) < MIN_LENGTH) return;
    for (const form of formsOf(value)) this.#forms.add(form);
    this.#sorted = [...this.#forms].sort((a, b) => b.length - a.length);
  }

  clear(): void {
    this.#forms.clear();
    this.#sorted = [];
  }

  redact(text: string): string {
    let result = text;
    for (const form of this.#sorted) if (result.includes(form)) result = result.replaceAll(form, '[secret]');
    return result;
  }

  /** A filter for text that comes in pieces: holds back as much as a split value could need. */
  stream(): { push(text: string): string; end(): string } {
    let held = '';
    return {
      push: (text) => {
        const all = this.redact(held + text);
        const keep = Math.min(all.length, Math.max(0, (this.#sorted[0]?.length ?? 1) - 1));
        held = all.slice(all.length - keep);
        return all.slice(0, all.length - keep);
      },
      end: () => {
        const rest = this.redact(held);
        held = '';
        return rest;
      },
    };
  }
}
