/** Flag types: what a flag on the command line may be, and how its text becomes a value. */
import { z } from 'zod';
import { parseDurationMs } from '../base/duration.ts';

export interface FlagMeta {
  readonly description: string;
  /** one letter: `-v` */
  readonly short?: string;
  /** what `--help` shows for the value */
  readonly value?: string;
}

const METAS = z.registry<FlagMeta>();

function described<T extends z.ZodType>(schema: T, meta: FlagMeta): T {
  METAS.add(schema, meta);
  return schema;
}

export function metaOf(schema: z.ZodType): FlagMeta {
  return METAS.get(schema) ?? { description: '' };
}

type More = Omit<FlagMeta, 'description'>;

const durationSchema = z.string().transform((text, context) => {
  const value = parseDurationMs(text);
  if (value !== undefined) return value;
  context.addIssue({ code: 'custom', message: 'is not a duration such as 90s, 5m or 24h' });
  return z.NEVER;
});

const integerSchema = z
  .string()
  .regex(/^-?\d{1,15}$/, 'is not a whole number')
  .transform(Number);

export const flag = {
  on: (description: string, more: More = {}) => described(z.boolean().default(false), { description, ...more }),
  text: (description: string, more: More = {}) => described(z.string().min(1).optional(), { description, value: 'text', ...more }),
  needed: (description: string, more: More = {}) => described(z.string().min(1), { description, value: 'text', ...more }),
  many: (description: string, more: More = {}) =>
    described(z.array(z.string().min(1)).default([]), { description, value: 'text', ...more }),
  /** milliseconds */
  duration: (description: string, more: More = {}) => described(durationSchema.optional(), { description, value: 'duration', ...more }),
  whole: (description: string, more: More = {}) => described(integerSchema.optional(), { description, value: 'n', ...more }),
  oneOf: <const T extends readonly [string, ...string[]]>(values: T, description: string, more: More = {}) =>
    described(z.enum(values).optional(), { description, value: values.join('|'), ...more }),
};

export type FlagKind = 'boolean' | 'text' | 'list';

/** What node's parseArgs must know of a flag. */
export function kindOfFlag(schema: z.ZodType): FlagKind {
  let now: z.ZodType = schema;
  for (;;) {
    const { def } = now as unknown as { def: { type: string; innerType?: z.ZodType; in?: z.ZodType } };
    if (def.type === 'boolean') return 'boolean';
    if (def.type === 'array') return 'list';
    const inner = def.innerType ?? def.in;
    if (inner === undefined) return 'text';
    now = inner;
  }
}

export function kebab(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}
