// Other tools of the run. `package.json` lists it: `"cofferdam": { "imports": ["tools"] }`.

import { invoke as call } from 'cofferdam:host/tools@0.1.0';
import { ask } from './cofferdam.js';

/** Calls a granted tool, named as in documents; gives data, text or bytes, as the tool did. */
export function invoke(name, args = {}) {
  const { tag, val } = ask(() => call(name, JSON.stringify(args)));
  return tag === 'json' ? JSON.parse(val) : val;
}
