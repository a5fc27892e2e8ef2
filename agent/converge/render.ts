/** Texts of a policy into what an executor gets: conditions see no secret, attributes get secrets as data, and nothing substituted is read again. */
import { randomInt } from 'node:crypto';
import { CodedError } from '../../core/base/errors.ts';
import type { Json } from '../../core/base/json.ts';
import { refsIn } from '../../core/config/secrets.ts';
import { eachText, emptyRecord, mapText } from '../../core/config/values.ts';
import { type BodyModule, type BodyResource, RAW_TEMPLATE, SECRET_MARK, secretMarkers } from '../../core/policy/body.ts';
import { resourceSpec } from '../../core/resources/index.ts';
import { parseTemplate, type Template, type TemplateMode } from '../../core/template/parse.ts';
import { renderTemplate } from '../../core/template/render.ts';
import { templateUses } from '../../core/template/uses.ts';
import { gapsOf, type SecretGap, type SecretValues } from './secrets.ts';

export type Attributes = Readonly<Record<string, Json>>;

export interface EnvoyFacts {
  readonly id: string;
  readonly hostname: string;
  readonly environment: string | null;
}

/** The variables a module sees; secrets are still markers. */
export interface ModuleScope {
  readonly module: string;
  readonly vars: Attributes;
}

/** The one name in braces that is no template: the executor puts the path of the secret file there. */
const SECRET_FILE = /\{\{\s*secret_file\s*\}\}/g;
const SECRET_FILE_TEXT = '{{secret_file}}';

export type Rendered =
  | { readonly attributes: Attributes; readonly raw: Buffer | undefined; readonly gap?: undefined }
  | { readonly gap: SecretGap; readonly attributes?: undefined };

export class PolicyRenderer {
  readonly #traits: Attributes;
  readonly #envoy: EnvoyFacts;
  readonly #secrets: SecretValues;
  readonly #templates: Readonly<Record<string, string>>;
  readonly #parsed = new Map<string, Template>();
  readonly #opened = new WeakMap<ModuleScope, Attributes>();

  constructor(parts: {
    readonly traits: Attributes;
    readonly envoy: EnvoyFacts;
    readonly secrets: SecretValues;
    readonly templates: Readonly<Record<string, string>>;
  }) {
    // traits come from outside: a marker in one must not ask for a secret
    this.#traits = mapText(parts.traits, (text) => text.replaceAll(SECRET_MARK, '')) as Attributes;
    this.#envoy = parts.envoy;
    this.#secrets = parts.secrets;
    this.#templates = parts.templates;
  }

  get traits(): Attributes {
    return this.#traits;
  }

  /** The text of an action of a condition. Secrets never reach conditions: variables that hold one show their marker. */
  action(action: string, scope: ModuleScope, resource?: BodyResource): string {
    return this.#render(`{{${action}}}`, 'interpolation', this.#data(scope, scope.vars, resource));
  }

  /** The branch key of `case`. */
  caseKey(expression: string, scope: ModuleScope, resource: BodyResource): string {
    return this.#render(expression, 'interpolation', this.#data(scope, scope.vars, resource))
      .trim()
      .toLowerCase();
  }

  /** @throws CodedError EVAL_ERROR */
  attributes(attributes: Attributes, scope: ModuleScope, resource: BodyResource): Rendered {
    const { sourced, raw } = this.#withSource(attributes, scope, resource);
    const gap = gapsOf(this.#refsRead(sourced, scope, resource), this.#secrets);
    if (gap !== undefined) return { gap };
    const item = resource.item === undefined ? {} : { item: this.#revealed(resource.item) };
    const data = this.#data(scope, this.#revealedVars(scope), { ...resource, ...item });
    const rendered = emptyRecord<Json>();
    for (const [key, value] of Object.entries(sourced))
      rendered[key] = mapText(value, (text) => this.#text(text, modeOf(resource.type, key), data));
    if (resourceSpec(resource.type)?.docs['name'] !== undefined && rendered['name'] === undefined) rendered['name'] = resource.name;
    return { attributes: rendered, raw };
  }

  /** A relative source is a template of the tree: it becomes the content. */
  #withSource(attributes: Attributes, scope: ModuleScope, resource: BodyResource): { sourced: Attributes; raw: Buffer | undefined } {
    const { source, ...rest } = attributes;
    if (typeof source !== 'string' || resourceSpec(resource.type)?.docs['source'] === undefined)
      return { sourced: attributes, raw: undefined };
    const path = source.includes('{{') ? this.#text(source, 'interpolation', this.#data(scope, scope.vars, resource)) : source;
    const template = Object.hasOwn(this.#templates, path) ? this.#templates[path] : undefined;
    if (template === undefined) return { sourced: attributes, raw: undefined };
    if (!template.startsWith(RAW_TEMPLATE)) return { sourced: { ...rest, content: template }, raw: undefined };
    return { sourced: rest, raw: Buffer.from(template.slice(RAW_TEMPLATE.length), 'base64') };
  }

  /** References in the texts themselves, and in the variables that their templates read. */
  #refsRead(attributes: Attributes, scope: ModuleScope, { type, item }: BodyResource): ReadonlySet<string> {
    const refs = new Set(refsIn(attributes));
    const readAll = () => {
      for (const ref of refsIn(scope.vars)) refs.add(ref);
    };
    for (const [key, value] of Object.entries(attributes)) {
      eachText(value, (text) => {
        if (!text.includes('{{')) return;
        for (const { root, path, whole } of templateUses(this.#template(plainText(text), modeOf(type, key)))) {
          if (root !== 'Vars' && item !== undefined) for (const ref of refsIn(item)) refs.add(ref);
          if (root === '(all)' || (root === 'Vars' && (path[0] === undefined || (whole && path.length === 0)))) readAll();
          else if (root === 'Vars' && Object.hasOwn(scope.vars, path[0]!)) for (const ref of refsIn(scope.vars[path[0]!]!)) refs.add(ref);
        }
      });
    }
    return refs;
  }

  #data(scope: ModuleScope, vars: Attributes, resource: BodyResource | undefined): Record<string, unknown> {
    const data = emptyRecord<unknown>();
    Object.assign(data, { Vars: vars, Traits: this.#traits, Envoy: this.#envoy, Module: scope.module });
    if (resource === undefined) return data;
    data['Name'] = resource.name;
    if (resource.item !== undefined) Object.assign(data, { Item: resource.item, Each: resource.item, Index: resource.index ?? 0 });
    return data;
  }

  #revealedVars(scope: ModuleScope): Attributes {
    let revealed = this.#opened.get(scope);
    if (revealed === undefined) {
      revealed = this.#revealed(scope.vars) as Attributes;
      this.#opened.set(scope, revealed);
    }
    return revealed;
  }

  /** References without a value stay markers: nothing that reads them is rendered. */
  #revealed(value: Json): Json {
    return mapText(value, (text) =>
      text.includes(SECRET_MARK) ? text.replace(secretMarkers(), (marker, ref: string) => this.#value(ref) ?? marker) : text,
    );
  }

  #value(ref: string): string | undefined {
    const lookup = this.#secrets.get(ref);
    return lookup?.status === 'ok' ? lookup.value.reveal() : undefined;
  }

  /** Markers travel through the template as tokens nobody can guess, so that data which looks like a marker stays data. */
  #text(text: string, mode: TemplateMode, data: Record<string, unknown>): string {
    if (!text.includes('{{') && !text.includes(SECRET_MARK)) return text;
    const nonce = String(randomInt(2 ** 47));
    const values: string[] = [];
    const token = (value: string) => `${SECRET_MARK}${nonce}:${values.push(value) - 1}${SECRET_MARK}`;
    const held = text
      .replace(secretMarkers(), (_marker, ref: string) => token(this.#value(ref) ?? ''))
      .replace(SECRET_FILE, () => token(SECRET_FILE_TEXT));
    const rendered = held.includes('{{') ? this.#render(held, mode, data) : held;
    const pieces = rendered.split(new RegExp(`${SECRET_MARK}${nonce}:(\\d+)${SECRET_MARK}`));
    return pieces.map((piece, index) => (index % 2 === 0 ? piece : (values[Number(piece)] ?? ''))).join('');
  }

  #render(text: string, mode: TemplateMode, data: Record<string, unknown>): string {
    return text.includes('{{') ? renderTemplate(this.#template(text, mode, false), data) : text;
  }

  #template(text: string, mode: TemplateMode, keep = true): Template {
    const key = `${mode}\0${text}`;
    const known = this.#parsed.get(key);
    if (known !== undefined) return known;
    const { template, problems } = parseTemplate(text, mode);
    if (template === undefined || problems.length > 0)
      throw new CodedError('EVAL_ERROR', `template: ${problems[0]?.message ?? 'cannot be read'}`);
    if (keep || !text.includes(SECRET_MARK)) this.#parsed.set(key, template);
    return template;
  }
}

/** For looking only: what is no template is blanked out. */
function plainText(text: string): string {
  return text.includes('secret_file') ? text.replace(SECRET_FILE, '') : text;
}

function modeOf(type: string, key: string): TemplateMode {
  return key === 'content' && resourceSpec(type)?.docs[key]?.kind === 'text' ? 'content' : 'interpolation';
}

/** Layers of config.md §4.1 as far as the agent adds them: `null` takes a name away. */
export function layeredVars(...layers: readonly Attributes[]): Attributes {
  const vars = emptyRecord<Json>();
  for (const layer of layers)
    for (const [name, value] of Object.entries(layer)) {
      if (value === null) delete vars[name];
      else vars[name] = value;
    }
  return vars;
}

export function scopeOf(module: BodyModule, vars: Attributes): ModuleScope {
  return { module: module.name, vars };
}
