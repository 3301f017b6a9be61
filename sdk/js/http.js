// Requests to the hosts that are granted. `package.json` lists it: `"cofferdam": { "imports": ["http"] }`.

import { fetch as send, fetchMany as sendMany } from 'cofferdam:host/http@0.1.0';
import { ask } from './cofferdam.js';

const encoder = new TextEncoder();
const OPTIONS = ['method', 'headers', 'body', 'json', 'timeoutMs', 'maxResponseBytes'];

/** What came back. A status of 400 and above is an answer, not an error. */
export class Response {
  constructor({ status, headers, body, finalUrl }) {
    const decoder = new TextDecoder();
    const pairs = headers.map(([name, value]) => [name, decoder.decode(value)]);
    Object.assign(this, { status, headers: pairs, body, finalUrl, ok: status >= 200 && status < 300 });
  }

  /** The first header of this name. */
  header(name) {
    return this.headers.find(([known]) => known === name.toLowerCase())?.[1];
  }

  text() {
    return new TextDecoder().decode(this.body);
  }

  json() {
    return JSON.parse(this.text());
  }
}

function request(url, options = {}) {
  const stray = Object.keys(options).find((key) => !OPTIONS.includes(key));
  if (stray !== undefined) throw new TypeError(`a request has no \`${stray}\`; it has: ${OPTIONS.join(', ')}`);
  const { method = 'GET', headers = {}, body, json, timeoutMs, maxResponseBytes } = options;
  const pairs = Object.entries(headers);
  if (json !== undefined && !pairs.some(([name]) => name.toLowerCase() === 'content-type')) {
    pairs.push(['content-type', 'application/json']);
  }
  const content = json === undefined ? body : JSON.stringify(json);
  return {
    method,
    url: String(url),
    headers: pairs.map(([name, value]) => [name, encoder.encode(String(value))]),
    body: typeof content === 'string' ? encoder.encode(content) : content,
    timeoutMs,
    maxResponseBytes: maxResponseBytes === undefined ? undefined : BigInt(maxResponseBytes),
  };
}

/** One request; throws a `PluginError` when it is denied or gets no answer. */
export function fetch(url, options) {
  return new Response(ask(() => send(request(url, options))));
}

/** Several, at most `limit` at once, answered in their order: a `Response`, or the `PluginError` of that request. */
export function fetchMany(requests, limit = 4) {
  const answers = sendMany(requests.map(({ url, ...options }) => request(url, options)), limit);
  return answers.map((answer) => {
    try {
      return new Response(ask(() => {
        if (answer.tag === 'ok') return answer.val;
        throw Object.assign(new Error(answer.val.message), { payload: answer.val });
      }));
    } catch (error) {
      return error;
    }
  });
}
