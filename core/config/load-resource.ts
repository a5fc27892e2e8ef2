/** One resource of a module: common keys, attributes of its type, defaults placed underneath (config.md §5.1, §5.2, §5.6). */
import { didYouMean } from '../base/did-you-mean.ts';
import { parseDurationMs } from '../base/duration.ts';
import type { Json } from '../base/json.ts';
import type { SourceLocation } from '../base/problem.ts';
import { RESOURCES, resourceSpec } from '../resources/index.ts';
import { KNOWN_TYPES } from './known-types.ts';
import type { YamlEntry, YamlMap, YamlNode } from './parse.ts';
import type { NodeReader } from './read-node.ts';
import type { Attributes, CaseBranch, Named, ResourceDeclaration } from './snapshot.ts';
import { attributeValue, emptyRecord, type Located } from './values.ts';

/** Keys every resource may have; what is not here belongs to the type. */
export const COMMON_KEYS: Readonly<Record<string, readonly string[]>> = {
  name: [],
  type: [],
  when: [],
  depends_on: [],
  before: [],
  notify: [],
  subscribes: [],
  foreach: ['for_each'],
  case: [],
  match: [],
  timeout: ['timeout_secs'],
  nice: [],
  revert: [],
};
/** What must not be overridden by a `case` branch, nor given by `defaults`. */
const FIXED_KEYS = ['name', 'type', 'when', 'foreach', 'depends_on', 'before', 'notify', 'subscribes', 'case', 'match'];
const NOT_DEFAULTS = ['name', 'type', 'foreach', 'case', 'match'];
const INVERSE_TYPES = new Set(['exec', 'powershell', 'ssh_exec', 'replace']);
/** Attributes of all types may be written under these names as well (config.md §1.4). */
const ATTRIBUTE_ALIASES: Readonly<Record<string, string>> = { only_if: 'onlyif' };
const ANY_ATTRIBUTE = new Set(['state', 'on_revert', 'background']);

interface Member extends YamlEntry {
  readonly written: string;
}

interface TypeKeys {
  /** written name → canonical name */
  readonly canonical: ReadonlyMap<string, string>;
  readonly open: boolean;
}

const KEYS_OF_TYPE = new Map<string, TypeKeys>();

function typeKeys(type: string): TypeKeys | undefined {
  const known = KEYS_OF_TYPE.get(type);
  if (known !== undefined) return known;
  const spec = resourceSpec(type);
  if (spec === undefined) return undefined;
  const canonical = new Map<string, string>();
  for (const [key, aliases] of Object.entries(COMMON_KEYS)) for (const name of [key, ...aliases]) canonical.set(name, key);
  for (const [key, doc] of Object.entries(spec.docs)) {
    canonical.set(key, key);
    for (const alias of doc.aliases ?? []) if (!canonical.has(alias)) canonical.set(alias, key);
  }
  for (const [alias, key] of Object.entries(ATTRIBUTE_ALIASES)) if (canonical.has(key)) canonical.set(alias, key);
  const keys: TypeKeys = { canonical, open: type === 'custom' };
  KEYS_OF_TYPE.set(type, keys);
  return keys;
}

/** Does any implemented type know the key? */
export function isKeyOf(type: string, key: string): boolean {
  return typeKeys(type)?.canonical.has(key) ?? false;
}

/** A reader of the resources of one module. */
export class ResourceReader {
  readonly #reader: NodeReader;
  readonly #module: string;
  readonly #defaults: ReadonlyMap<string, YamlEntry>;

  constructor(reader: NodeReader, module: string, defaults: YamlMap | undefined) {
    this.#reader = reader;
    this.#module = module;
    this.#defaults = defaults?.entries ?? new Map();
  }

  #error(rule: string, at: SourceLocation, message: string, resource?: string, hint?: string): void {
    this.#reader.findings.error(rule, at, message, { module: this.#module, resource, ...(hint === undefined ? {} : { hint }) });
  }

  #checkDefaults(types: readonly string[]): void {
    for (const [key, { keyAt }] of this.#defaults)
      if (NOT_DEFAULTS.includes(key) || (types.length > 0 && !types.some((type) => isKeyOf(type, key) || ANY_ATTRIBUTE.has(key))))
        this.#error('SCHEMA-1', keyAt, `"${key}" in defaults is unknown to every type of this module`);
  }

  read(nodes: readonly YamlNode[]): readonly ResourceDeclaration[] {
    const resources = nodes.flatMap((node) => {
      const map = this.#reader.map(node, 'a resource');
      const resource = map === undefined ? undefined : this.#resource(map);
      return resource === undefined ? [] : [resource];
    });
    this.#checkDefaults([...new Set(resources.map((resource) => resource.type))]);
    return resources;
  }

  #type(node: YamlMap): string | undefined {
    const entry = node.entries.get('type');
    const text = this.#reader.text(entry, '"type"');
    if (text === undefined) {
      this.#error('SCHEMA-6', node.at, 'a resource needs a type');
      return undefined;
    }
    if (resourceSpec(text.value) !== undefined) return text.value;
    if (text.value.startsWith('secret:')) this.#error('SEC-3', text.at, 'a secret cannot be a type');
    else if (text.value.includes('{{')) this.#error('TPL-4', text.at, '"type" is never rendered');
    else {
      const hint = KNOWN_TYPES.has(text.value)
        ? 'the language has this type, this version of the product does not yet'
        : didYouMean(
            text.value,
            RESOURCES.map((spec) => spec.type),
          );
      this.#error('SCHEMA-4', text.at, `unknown type "${text.value}"`, undefined, hint);
    }
    return undefined;
  }

  /** Members under canonical names, defaults underneath. */
  #members(node: YamlMap, keys: TypeKeys, label: string | undefined): ReadonlyMap<string, Member> {
    const members = new Map<string, Member>();
    for (const [written, entry] of node.entries) {
      const key = keys.canonical.get(written) ?? (ANY_ATTRIBUTE.has(written) || keys.open ? written : undefined);
      if (key === undefined) {
        this.#error('SCHEMA-1', entry.keyAt, `unknown attribute "${written}"`, label, didYouMean(written, keys.canonical.keys()));
        continue;
      }
      const other = members.get(key);
      if (other !== undefined)
        this.#error('SCHEMA-2', entry.keyAt, `"${written}" and "${other.written}" are the same key; write one of them`, label);
      else members.set(key, { ...entry, written });
    }
    for (const [written, entry] of this.#defaults) {
      const key = keys.canonical.get(written);
      if (key !== undefined && !NOT_DEFAULTS.includes(key) && !members.has(key)) members.set(key, { ...entry, written });
    }
    for (const [key, { value }] of members) if (value.kind === 'scalar' && value.value === null) members.delete(key);
    return members;
  }

  #resource(node: YamlMap): ResourceDeclaration | undefined {
    const type = this.#type(node);
    if (type === undefined) return undefined;
    const spec = resourceSpec(type)!;
    const label = this.#reader.text(node.entries.get('name'), '"name"')?.value;
    const members = this.#members(node, typeKeys(type)!, label);
    const names = (key: string) => this.#reader.names(members.get(key), `"${key}"`);
    const attributes = this.#attributes(type, members, label, (key) => !(key in COMMON_KEYS));
    const primary = attributes[spec.primary]?.value;
    const own = this.#reader.text(members.get('name'), '"name"');
    const name = own ?? {
      value: `${type}:${typeof primary === 'string' ? primary.replaceAll('/', '-').replace(/^-/, '') : ''}`,
      at: node.at,
    };
    if ('name' in spec.docs) attributes['name'] ??= name;
    if (own !== undefined) this.#checkName(own, label);
    const caseOf = this.#reader.text(members.get('case'), '"case"');
    const match = this.#reader.map(members.get('match')?.value, '"match"');
    if ((caseOf === undefined) !== (match === undefined)) this.#error('SCHEMA-5', node.at, '"case" and "match" come together', label);
    const revert = this.#reader.flag(members.get('revert'), '"revert"')?.value ?? false;
    if (revert && INVERSE_TYPES.has(type) && attributes['on_revert'] === undefined)
      this.#error('SCHEMA-8', node.at, `"revert" on ${type} needs "on_revert"`, label);
    const declaration: ResourceDeclaration = {
      at: node.at,
      name,
      type,
      attributes,
      when: this.#reader.text(members.get('when'), '"when"'),
      dependsOn: names('depends_on'),
      before: names('before'),
      notify: names('notify'),
      subscribes: names('subscribes'),
      foreach: this.#reader.text(members.get('foreach'), '"foreach"'),
      caseOf,
      branches: this.#branches(type, match, label),
      timeoutSeconds: this.#timeout(members.get('timeout'), label),
      nice: this.#nice(members.get('nice'), label),
      revert,
    };
    if (declaration.notify.length > 100) this.#error('LIMIT-1', node.at, `more than 100 notify targets`, label);
    this.#checkRequired(declaration, label);
    return declaration;
  }

  #checkName(name: Located<string>, label: string | undefined): void {
    if (name.value.startsWith('secret:')) this.#error('SEC-3', name.at, 'a secret cannot be part of a name', label);
    else if ([...name.value].length > 200) this.#error('LIMIT-1', name.at, 'a resource name has at most 200 characters', label);
    else if (name.value === '' || /[/\u0000-\u001f\u007f]/.test(name.value.replaceAll(/\{\{.*?\}\}/g, '')))
      this.#error('SCHEMA-10', name.at, 'a resource name must not be empty nor hold "/" or control characters', label);
  }

  #timeout(member: Member | undefined, label: string | undefined): number | undefined {
    const text = this.#reader.text(member, '"timeout"');
    if (text === undefined) return undefined;
    const ms = parseDurationMs(text.value);
    if (ms === undefined || ms === 0) this.#error('SCHEMA-10', text.at, `"${text.value}" is not a duration`, label);
    return ms === undefined ? undefined : ms / 1_000;
  }

  #nice(member: Member | undefined, label: string | undefined): number | undefined {
    const text = this.#reader.text(member, '"nice"');
    if (text === undefined) return undefined;
    if (/^1?\d$/.test(text.value)) return Number(text.value);
    this.#error('SCHEMA-10', text.at, '"nice" is a number from 0 to 19', label);
    return undefined;
  }

  #attributes(type: string, members: ReadonlyMap<string, Member>, label: string | undefined, wanted: (key: string) => boolean) {
    const docs = resourceSpec(type)!.docs;
    const attributes = emptyRecord<Located<Json>>();
    for (const [key, { value: node, keyAt }] of members) {
      if (!wanted(key)) continue;
      const kind = docs[key]?.kind;
      if (kind === 'octal' && node.kind === 'scalar' && typeof node.value === 'number')
        this.#error(
          'SCHEMA-3',
          node.at,
          `"${key}" is an octal number and must be quoted`,
          label,
          `write ${key}: "${node.plain ?? node.value}"`,
        );
      const value = attributeValue(node);
      if (value === undefined) continue;
      if (typeof value === 'object' && kind !== undefined && kind !== 'map' && kind !== 'list' && !this.#mayBeList(type, key))
        this.#error('SCHEMA-10', node.at, `"${key}" must be text`, label);
      if (typeof value === 'string' && key !== 'content' && Buffer.byteLength(value) > 64 * 1024)
        this.#error('LIMIT-1', node.at, `"${key}" is longer than 64 KiB`, label);
      attributes[key] = { value, at: keyAt };
    }
    return attributes;
  }

  /** Some texts may be lists as well (guards): the type's own schema knows. */
  #mayBeList(type: string, key: string): boolean {
    const schema = resourceSpec(type)!.attributes.shape[key];
    return schema === undefined || (schema as { safeParse(value: unknown): { success: boolean } }).safeParse(['x', 'y']).success;
  }

  #branches(type: string, match: YamlMap | undefined, label: string | undefined): ReadonlyMap<string, CaseBranch> {
    const branches = new Map<string, CaseBranch>();
    for (const [key, { value, keyAt }] of match?.entries ?? []) {
      const map = value.kind === 'scalar' && value.value === null ? undefined : this.#reader.map(value, `"match.${key}"`);
      if (branches.has(key.toLowerCase())) this.#error('YAML-3', keyAt, `branch "${key}" occurs twice`, label);
      const members = new Map<string, Member>();
      for (const [written, entry] of map?.entries ?? []) {
        const name = typeKeys(type)!.canonical.get(written);
        if (name === undefined && !ANY_ATTRIBUTE.has(written))
          this.#error('SCHEMA-1', entry.keyAt, `unknown attribute "${written}"`, label);
        else if (FIXED_KEYS.includes(name ?? written)) this.#error('SCHEMA-7', entry.keyAt, `"${written}" cannot differ by case`, label);
        else members.set(name ?? written, { ...entry, written });
      }
      branches.set(key.toLowerCase(), { at: keyAt, attributes: this.#attributes(type, members, label, () => true) });
    }
    return branches;
  }

  #checkRequired(declaration: ResourceDeclaration, label: string | undefined): void {
    for (const variant of variantsOf(declaration)) {
      for (const [key, doc] of Object.entries(resourceSpec(declaration.type)!.docs))
        if (doc.required === true && variant.attributes[key] === undefined)
          this.#error('SCHEMA-6', variant.at, `${declaration.type} needs "${key}"`, label);
      if (variant.attributes['content'] !== undefined && variant.attributes['source'] !== undefined)
        this.#error('SCHEMA-9', variant.attributes['source'].at, '"content" and "source" exclude each other', label);
    }
  }
}

/** What a resource can be: every `case` branch over the base, and the base itself where no branch need be chosen. */
export function variantsOf(declaration: ResourceDeclaration): readonly { at: SourceLocation; attributes: Attributes }[] {
  const variants = [...declaration.branches.values()].map((branch) => ({
    at: branch.at,
    attributes: Object.assign(emptyRecord<Located<Json>>(), declaration.attributes, branch.attributes),
  }));
  return declaration.branches.has('default') ? variants : [{ at: declaration.at, attributes: declaration.attributes }, ...variants];
}

/** Names of a resource's graph keys, for checks that treat them alike. */
export function graphNames(declaration: ResourceDeclaration): readonly Named[] {
  return [...declaration.dependsOn, ...declaration.before, ...declaration.notify, ...declaration.subscribes];
}
