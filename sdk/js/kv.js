// Values of this plugin alone, kept in the granted scope. `package.json` lists it: `"cofferdam": { "imports": ["kv"] }`.

import { commit, getMany, scan as page } from 'cofferdam:host/kv@0.1.0';
import { ask } from './cofferdam.js';

const encode = (value) => new TextEncoder().encode(JSON.stringify(value));
const decode = (bytes) => JSON.parse(new TextDecoder().decode(bytes));

/** The value of a key, or `undefined`. Values are JSON. */
export function get(key) {
  return entry(key)?.value;
}

/** Value and version of a key, or `undefined`. */
export function entry(key) {
  const [found] = ask(() => getMany([key]));
  return found === undefined ? undefined : { value: decode(found.value), version: found.version };
}

/** Writes a value; `conflict` when `version` is given and another one is stored, or `absent` is and there is one. */
export function set(key, value, { ttlMs, version, absent } = {}) {
  return write({ key, value: encode(value), ttlMs: ttlMs === undefined ? undefined : BigInt(ttlMs), when: when(version, absent) });
}

/** Forgets a key. */
export function remove(key, { version } = {}) {
  return write({ key, value: undefined, ttlMs: undefined, when: when(version) });
}

/** All keys with a prefix and their values, in order. */
export function* scan(prefix, pageSize = 100) {
  let cursor;
  do {
    const { entries, next } = ask(() => page(prefix, cursor, pageSize));
    for (const { key, value, version } of entries) yield { key, value: decode(value), version };
    cursor = next;
  } while (cursor !== undefined);
}

function when(version, absent) {
  if (version !== undefined) return { tag: 'version', val: BigInt(version) };
  return absent ? { tag: 'absent' } : { tag: 'none' };
}

function write(change) {
  return ask(() => commit([change]))[0];
}
