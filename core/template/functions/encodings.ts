/** Functions that encode and decode. */
import { createHash } from 'node:crypto';
import { isIP } from 'node:net';
import { stringify } from 'yaml';
import { canonicalJson } from '../../base/json.ts';
import { checkedText, fail, plain, stringOf, type Value } from '../value.ts';
import { inGroup, type TemplateFunction } from './function.ts';

const define = inGroup('encodings');

function fromJson(text: string): Value {
  try {
    return JSON.parse(text) as Value;
  } catch (error) {
    return fail(`fromJson: ${(error as Error).message}`);
  }
}

function decodeBase64(text: string): string {
  if (!/^[A-Za-z0-9+/]*={0,2}$/.test(text) || text.length % 4 !== 0) return fail('b64dec: not base64');
  const bytes = Buffer.from(text, 'base64');
  const decoded = bytes.toString('utf8');
  if (!Buffer.from(decoded, 'utf8').equals(bytes)) return fail('b64dec: not UTF-8 text');
  return decoded;
}

function parseCidr(text: string, what: string): { bytes: number[]; prefix: number; v6: boolean } {
  const [address = '', length = '', ...more] = text.split('/');
  const family = isIP(address);
  const prefix = /^\d{1,3}$/.test(length) ? Number(length) : -1;
  if (family === 0 || address.includes('%') || more.length > 0 || prefix < 0 || prefix > (family === 4 ? 32 : 128))
    return fail(`${what}: "${text.slice(0, 64)}" is not a network such as 10.0.0.0/8`);
  if (family === 4) return { bytes: address.split('.').map(Number), prefix, v6: false };
  return { bytes: expandV6(address), prefix, v6: true };
}

function expandV6(address: string): number[] {
  const dotted = /^(.*:)(\d+)\.(\d+)\.(\d+)\.(\d+)$/.exec(address);
  const hex = (high: string | undefined, low: string | undefined) => (Number(high) * 256 + Number(low)).toString(16);
  const text = dotted === null ? address : `${dotted[1]}${hex(dotted[2], dotted[3])}:${hex(dotted[4], dotted[5])}`;
  const [head = '', tail] = text.split('::');
  const groups = (part: string | undefined) =>
    part === undefined || part === '' ? [] : part.split(':').map((group) => Number.parseInt(group, 16));
  const front = groups(head);
  const back = groups(tail);
  const all = tail === undefined ? front : [...front, ...Array.from({ length: 8 - front.length - back.length }, () => 0), ...back];
  return all.flatMap((group) => [group >> 8, group & 0xff]);
}

/** RFC 5952 form. */
function writeV6(bytes: readonly number[]): string {
  const groups = Array.from({ length: 8 }, (_, i) => ((bytes[2 * i]! << 8) | bytes[2 * i + 1]!).toString(16));
  let best = { at: -1, length: 1 };
  for (let i = 0; i < 8; i++) {
    let j = i;
    while (j < 8 && groups[j] === '0') j++;
    if (j - i > best.length) best = { at: i, length: j - i };
  }
  if (best.at < 0) return groups.join(':');
  return `${groups.slice(0, best.at).join(':')}::${groups.slice(best.at + best.length).join(':')}`;
}

/** The address of the network, without the prefix. */
function network(text: string): string {
  const { bytes, prefix, v6 } = parseCidr(text, 'ipNetwork');
  const masked = bytes.map((byte, i) => byte & (0xff << Math.max(0, Math.min(8, 8 * (i + 1) - prefix))) & 0xff);
  return v6 ? writeV6(masked) : masked.join('.');
}

export const ENCODINGS: readonly TemplateFunction[] = [
  define('b64dec', [1, 1], 's', 'decodes base64 to text', ([text]) => decodeBase64(stringOf(text, 'b64dec'))),
  define('b64enc', [1, 1], 's', 'encodes text as base64', ([text]) =>
    checkedText(Buffer.from(stringOf(text, 'b64enc'), 'utf8').toString('base64')),
  ),
  define('fromJson', [1, 1], 's', 'reads JSON', ([text]) => fromJson(stringOf(text, 'fromJson'))),
  define('ipNetwork', [1, 1], 'cidr', 'the network address: 10.1.2.3/8 gives 10.0.0.0', ([cidr]) => network(stringOf(cidr, 'ipNetwork'))),
  define(
    'ipPrefix',
    [1, 1],
    'cidr',
    'the prefix length: 10.1.2.3/8 gives 8',
    ([cidr]) => parseCidr(stringOf(cidr, 'ipPrefix'), 'ipPrefix').prefix,
  ),
  define('sha256', [1, 1], 's', 'SHA-256 of the UTF-8 text, in hex', ([text]) =>
    createHash('sha256').update(stringOf(text, 'sha256'), 'utf8').digest('hex'),
  ),
  define('toJson', [1, 1], 'v', 'JSON with sorted keys', ([value]) => checkedText(canonicalJson(plain(value)))),
  define('toYaml', [1, 1], 'v', 'YAML with sorted keys, 2 spaces', ([value]) =>
    checkedText(stringify(plain(value), { indent: 2, lineWidth: 0, aliasDuplicateObjects: false }).replace(/\n$/, '')),
  ),
];
