/** A secret in memory: prints as `[secret]` everywhere, and is only readable through `reveal()`. */
import { inspect } from 'node:util';

const MASK = '[secret]';

export class SecretValue {
  readonly #value: string;

  constructor(value: string) {
    this.#value = value;
  }

  reveal(): string {
    return this.#value;
  }

  toString(): '[secret]' {
    return MASK;
  }

  toJSON(): '[secret]' {
    return MASK;
  }

  [inspect.custom](): '[secret]' {
    return MASK;
  }
}
