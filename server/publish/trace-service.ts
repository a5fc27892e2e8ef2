/** Answers why a host has the policy it has, over the live release, the stage or an older release (config.md §19.1). */
import { join } from 'node:path';
import type { Clock } from '../../core/base/clock.ts';
import { CodedError } from '../../core/base/errors.ts';
import type { TreePlace } from './messages.ts';
import type { Publisher } from './publisher.ts';

export const SECTIONS = ['path', 'module', 'variable', 'dependency', 'conditional', 'compliance', 'waiver'] as const;
type Section = (typeof SECTIONS)[number];

const KEYS: Readonly<Record<Section, readonly string[]>> = {
  path: ['path'],
  module: ['modules'],
  variable: ['variables'],
  dependency: ['dependencies', 'order'],
  conditional: ['conditions'],
  compliance: ['compliance'],
  waiver: ['waivers'],
};

export interface TraceQuestion {
  readonly name: string;
  readonly stage?: boolean | undefined;
  readonly release?: number | undefined;
  readonly env?: string | undefined;
  /** the name is a module even if a host has it too */
  readonly module?: boolean | undefined;
  readonly sections?: string | undefined;
  readonly resource?: string | undefined;
}

export interface TraceServiceParts {
  readonly publisher: Publisher;
  readonly stage: string;
  readonly clock: Clock;
  /** enrolled and active */
  hostnames(): Iterable<string>;
}

type Answer = { readonly host: string | null; readonly release: number; readonly match: string | null } & Readonly<Record<string, unknown>>;

interface Source {
  readonly place: TreePlace;
  readonly source: 'live' | 'stage' | 'release';
  readonly release: number;
  readonly version: string;
}

export class TraceService {
  readonly #parts: TraceServiceParts;

  constructor(parts: TraceServiceParts) {
    this.#parts = parts;
  }

  async #source({ stage, release }: Pick<TraceQuestion, 'stage' | 'release'>): Promise<Source> {
    const { publisher } = this.#parts;
    if (stage === true) return { place: { directory: this.#parts.stage }, source: 'stage', release: 0, version: '' };
    if (release !== undefined) {
      const directory = await publisher.folder.byNumber(release);
      if (directory === undefined) throw new CodedError('NOT_FOUND', `there is no release ${release}`);
      const { manifest, path } = await publisher.folder.open(directory);
      return { place: { directory: join(path, 'tree'), manifest }, source: 'release', release, version: manifest.version };
    }
    const { live } = publisher;
    if (live === undefined) throw new CodedError('NOT_READY', 'nothing has been published yet');
    const { path, manifest } = live.stored;
    return { place: { directory: join(path, 'tree'), manifest }, source: 'live', release: live.number, version: live.version };
  }

  /** Exact enrolled name, else a unique beginning of one; undefined: nobody is called so. @throws CodedError AMBIGUOUS_NAME */
  #enrolled(name: string): string | undefined {
    const wanted = name.toLowerCase();
    const hits: string[] = [];
    for (const hostname of this.#parts.hostnames()) {
      if (hostname.toLowerCase() === wanted) return hostname;
      if (hostname.toLowerCase().startsWith(wanted)) hits.push(hostname);
    }
    if (hits.length > 1)
      throw new CodedError(
        'AMBIGUOUS_NAME',
        `"${name}" is the beginning of ${hits.length} host names: ${hits.sort().slice(0, 20).join(', ')}`,
        {
          details: { names: hits.slice(0, 100) },
        },
      );
    return hits[0];
  }

  async trace(question: TraceQuestion): Promise<Answer> {
    const { place, source, release, version } = await this.#source(question);
    const { thread } = this.#parts.publisher;
    const enrolled = question.module === true ? undefined : this.#enrolled(question.name);
    if (enrolled === undefined) {
      const entries = await thread.ask('traceModule', { ...place, module: question.name });
      if (entries !== undefined) {
        const ids = new Set(entries.map(({ entry }) => entry));
        const live = this.#parts.publisher.live;
        const hosts =
          source === 'live' && live !== undefined
            ? [...this.#parts.hostnames()].filter((host) => ids.has(live.entryIdFor(host) ?? ''))
            : [];
        return { host: null, module: question.name, release, version, source, match: null, entries, hosts };
      }
      if (question.module === true) throw new CodedError('NOT_FOUND', `there is no module "${question.name}"`);
    }
    const today = new Date(this.#parts.clock.now()).toISOString().slice(0, 10);
    const host = enrolled ?? question.name;
    const query = { environment: question.env, resource: question.resource, today };
    const trace = await thread.ask('trace', { ...place, host, query });
    const { environment, match, entry } = trace;
    const shown = wantedSections(question.sections).flatMap((section) => KEYS[section]);
    const rows = Object.fromEntries(shown.map((key) => [key, (trace as unknown as Record<string, unknown>)[key]]));
    return { host, enrolled: enrolled !== undefined, release, version, source, environment, match, entry, ...rows };
  }

  async tree(question: { readonly dir?: string | undefined; readonly stage?: boolean | undefined }) {
    const { place } = await this.#source({ stage: question.stage });
    const query = { directory: question.dir, hostnames: [...this.#parts.hostnames()] };
    const rows = await this.#parts.publisher.thread.ask('tree', { ...place, query });
    return {
      directories: rows.map(({ dir, markers, entries }) => ({
        path: dir,
        marks: markers,
        entries: entries.map(({ id, line, ordinal, patterns, environment, envoys }) => ({
          ordinal,
          file: id.slice(0, id.lastIndexOf('#')),
          line,
          patterns: [...patterns],
          environment,
          envoys,
        })),
      })),
    };
  }
}

function wantedSections(text: string | undefined): readonly Section[] {
  if (text === undefined || text === '') return SECTIONS;
  return text.split(',').map((word) => {
    const section = SECTIONS.find((known) => known === word.trim());
    if (section === undefined) throw new CodedError('BAD_REQUEST', `"${word}" is no section`, { hint: SECTIONS.join(', ') });
    return section;
  });
}
