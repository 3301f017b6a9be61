// Secrets without seeing them. `package.json` lists it: `"cofferdam": { "imports": ["secrets"] }`.

import { exists as isThere, placeholder as standIn } from 'cofferdam:host/secrets@0.1.0';
import { ask } from './cofferdam.js';

/** Whether the secret is granted and has a value. */
export function exists(name) {
  return isThere(name);
}

/** A stand-in: where the grant allows it, an outgoing request gets the value in its place. */
export function placeholder(name) {
  return ask(() => standIn(name));
}
