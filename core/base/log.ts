/** Structured logs: one JSON object a line on stderr, redaction by value and by key in this one place. */
import pino from 'pino';
import type { Redactor } from './redaction.ts';

export interface Logger {
  trace(msg: string, fields?: object): void;
  debug(msg: string, fields?: object): void;
  info(msg: string, fields?: object): void;
  warn(msg: string, fields?: object): void;
  error(msg: string, fields?: object): void;
  /** a logger whose lines carry `component` */
  component(name: string): Logger;
}

export const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

const SECRET_KEYS = /^(password|passwd|secret|token|authorization|cookie|private_key|csr_key|value)$/i;
const MAX_TEXT = 4096;
/** control characters above ASCII, line ends and direction marks of Unicode */
const STEERING = /[\u007f-\u009f\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g;

function clean(value: unknown, redactor: Redactor | undefined, depth: number): unknown {
  if (typeof value === 'string') {
    const redacted = redactor === undefined ? value : redactor.redact(value);
    return redacted.length > MAX_TEXT ? `${redacted.slice(0, MAX_TEXT)}…` : redacted;
  }
  if (value instanceof Error)
    return clean(
      { name: value.name, message: value.message, code: (value as { code?: unknown }).code, stack: value.stack },
      redactor,
      depth + 1,
    );
  if (typeof value !== 'object' || value === null) return value;
  if (value instanceof Uint8Array) return `<${value.byteLength} bytes>`;
  if (depth > 6) return '…';
  if (Array.isArray(value)) return value.slice(0, 100).map((item) => clean(item, redactor, depth + 1));
  if ('toJSON' in value && typeof value.toJSON === 'function') return clean(value.toJSON(), redactor, depth + 1);
  return Object.fromEntries(
    Object.entries(value).map(([key, member]) => [key, SECRET_KEYS.test(key) ? '[secret]' : clean(member, redactor, depth + 1)]),
  );
}

function textLine(line: string): string {
  const { time, level, msg, component, ...rest } = JSON.parse(line) as Record<string, unknown>;
  const fields = Object.entries(rest)
    .map(([key, value]) => ` ${key}=${typeof value === 'string' ? value : JSON.stringify(value)}`)
    .join('');
  const text = `${String(time)} ${String(level).padEnd(5)} ${component === undefined ? '' : `${String(component)}: `}${String(msg)}${fields}`;
  return `${text.replace(/[\u0000-\u001f]/g, (c) => `\\x${c.charCodeAt(0).toString(16).padStart(2, '0')}`).replace(STEERING, escaped)}\n`;
}

const escaped = (c: string) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`;

/** JSON escapes what is below a space; what else steers a terminal can only stand inside a string of the line. */
function jsonLine(line: string): string {
  return line.replace(STEERING, escaped);
}

/** A logger that writes to `write` (stderr by default). */
export function createLogger(options: {
  level: LogLevel;
  format: 'json' | 'text';
  redactor?: Redactor;
  write?: (line: string) => void;
}): Logger {
  const write = options.write ?? ((line: string) => void process.stderr.write(line));
  const stream = { write: (line: string) => write(options.format === 'text' ? textLine(line) : jsonLine(line)) };
  const root = pino(
    { level: options.level, base: null, timestamp: pino.stdTimeFunctions.isoTime, formatters: { level: (label) => ({ level: label }) } },
    stream,
  );
  return wrap(root, options.redactor);
}

function wrap(target: pino.Logger, redactor: Redactor | undefined): Logger {
  const line = (level: LogLevel) => (msg: string, fields?: object) => {
    if (!target.isLevelEnabled(level)) return;
    target[level](fields === undefined ? {} : (clean(fields, redactor, 0) as object), msg);
  };
  return {
    trace: line('trace'),
    debug: line('debug'),
    info: line('info'),
    warn: line('warn'),
    error: line('error'),
    component: (name) => wrap(target.child({ component: name }), redactor),
  };
}
