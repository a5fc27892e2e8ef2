/** What a compiled resource can look like on a machine, as far as the server knows: every `case` branch, with known variables put in. */
import type { Json } from '../../base/json.ts';
import { substituteActions } from '../../template/substitute.ts';
import type { CompiledEntry } from '../compile.ts';
import { parseText, renderStatic, type StaticData } from '../expressions.ts';
import type { Instance } from '../fold-module.ts';
import type { LinkedModule } from '../link-modules.ts';
import { templateText } from '../prepare.ts';
import { mapText, someText } from '../values.ts';

export interface Variant {
  readonly module: string;
  readonly instance: Instance;
  readonly attributes: Readonly<Record<string, Json>>;
}

type Attributes = Readonly<Record<string, Json>>;

/** Attribute maps without any action are the same for every entry. */
const FIXED = new WeakMap<Instance, readonly Attributes[]>();

function attributeMaps(instance: Instance): readonly Attributes[] {
  if (instance.branches === undefined) {
    // a case the server has folded: the other branches are judged as well, as if they were chosen
    const others = [...instance.declaration.branches.values()].map(({ attributes }) => ({
      ...instance.attributes,
      ...Object.fromEntries(Object.entries(attributes).map(([key, { value }]) => [key, value])),
    }));
    return [instance.attributes, ...others];
  }
  return [instance.attributes, ...Object.values(instance.branches).map((branch) => ({ ...instance.attributes, ...branch }))];
}

function hasActions(attributes: Attributes): boolean {
  return Object.entries(attributes).some(([key, value]) => key !== 'content' && someText(value, (text) => text.includes('{{')));
}

function resolve(attributes: Attributes, data: StaticData): Attributes {
  const resolved: Record<string, Json> = Object.create(null) as Record<string, Json>;
  for (const [key, value] of Object.entries(attributes))
    resolved[key] = key === 'content' ? value : mapText(value, (text) => resolveText(text, data));
  return resolved;
}

export function resolveText(text: string, data: StaticData): string {
  if (!text.includes('{{')) return text;
  return substituteActions(text, ({ template }) => renderStatic(parseText(templateText(template.text), 'interpolation'), data));
}

/** All variants of all resources of an entry, module by module. */
export function* variantsOfEntry(compiled: CompiledEntry): Generator<Variant> {
  for (const module of compiled.linked.modules) yield* variantsOfModule(compiled, module);
}

function* variantsOfModule(compiled: CompiledEntry, linked: LinkedModule): Generator<Variant> {
  const module = linked.folded.prepared.module.name;
  const data = compiled.staticData.get(module);
  for (const { instance } of linked.resources) {
    const fixed = FIXED.get(instance);
    const maps = fixed ?? attributeMaps(instance);
    if (fixed === undefined && !maps.some(hasActions)) FIXED.set(instance, maps);
    for (const attributes of maps)
      yield { module, instance, attributes: data === undefined || !hasActions(attributes) ? attributes : resolve(attributes, data) };
  }
}
