/** What a condition is evaluated against: traits, one clock reading a run, and a probe of the live machine. */
import { CodedError } from '../base/errors.ts';
import type { Json } from '../base/json.ts';
import { traitAt } from '../traits/path.ts';

export interface LocalTime {
  readonly hour: number;
  readonly minute: number;
  /** 0 = Sunday */
  readonly weekday: number;
  readonly day: number;
  readonly daysInMonth: number;
}

/** Live questions; a question that cannot be answered throws. */
export interface WhenProbe {
  hasCommand(name: string): Promise<boolean>;
  hasPackage(name: string): Promise<boolean>;
  /** undefined: not installed */
  packageVersion(name: string): Promise<string | undefined>;
  serviceRunning(name: string): Promise<boolean>;
  processRunning(name: string): Promise<boolean>;
  portListening(port: number): Promise<boolean>;
  /** after following links; undefined: nothing there */
  fileKind(path: string): Promise<'file' | 'directory' | 'other' | undefined>;
  /** caches per run and text; 10 s limit */
  commandSucceeds(text: string): Promise<boolean>;
}

export interface WhenFacts {
  readonly traits: Readonly<Record<string, Json>>;
  readonly environment: string | null;
  readonly hostname: string;
  /** the text between the braces of an action to what it prints */
  render(action: string): string;
  readonly now: LocalTime;
  readonly probe: WhenProbe;
}

/** @throws CodedError EVAL_ERROR when the trait is missing */
export function needTrait(facts: WhenFacts, path: string): Json {
  const value = traitAt(facts.traits, path);
  if (value === undefined || value === null) throw new CodedError('EVAL_ERROR', `trait ${path} is missing`);
  return value;
}

export function sameText(a: unknown, b: string): boolean {
  return (typeof a === 'string' || typeof a === 'number' || typeof a === 'boolean') && String(a).toLowerCase() === b.toLowerCase();
}
