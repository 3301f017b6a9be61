// What a plugin in JavaScript is made of: `plugin`, errors, log lines, configuration, progress.
//
// It must not import what needs a grant: that is in `http.js`, `kv.js`, `secrets.js` and `tools.js`, and a component asks
// only for what its code imports and its `package.json` lists.

import { log as write } from 'cofferdam:host/log@0.1.0';
import { get as readConfig } from 'cofferdam:host/config@0.1.0';
import { isCancelled, progress as report } from 'cofferdam:host/run-control@0.1.0';

/** The kinds of errors, by what the caller does next. */
export const ERROR_KINDS = Object.freeze([
  'invalid-input', 'not-found', 'conflict', 'denied', 'auth-required', 'rate-limited', 'timeout', 'unavailable',
  'cancelled', 'too-large', 'unsupported', 'internal', 'other',
]);

/** A failure that a tool reports on purpose, or that the host answered with. */
export class PluginError extends Error {
  constructor(kind, message, { code, retryable, retryAfterMs, detail } = {}) {
    super(message);
    this.name = 'PluginError';
    if (!ERROR_KINDS.includes(kind)) {
      throw new TypeError(`\`${kind}\` is no kind of error; the kinds are: ${ERROR_KINDS.join(', ')}`);
    }
    Object.assign(this, { kind, code, retryable, retryAfterMs, detail });
  }
}

/** Calls the host, and throws its refusals as `PluginError`. */
export function ask(call) {
  try {
    return call();
  } catch (error) {
    const told = error?.payload;
    if (!ERROR_KINDS.includes(told?.kind)) throw error;
    const { kind, message, code, retryable, retryAfterMs, detail } = told;
    const rest = { code, retryable, retryAfterMs: retryAfterMs === undefined ? undefined : Number(retryAfterMs) };
    throw new PluginError(kind, message, { ...rest, detail: detail === undefined ? undefined : JSON.parse(detail) });
  }
}

const LEVELS = ['trace', 'debug', 'info', 'warn', 'error'];

/** Lines for the log of the run: `log.info('found it', { lines: 3 })`. */
export const log = Object.freeze(Object.fromEntries(LEVELS.map((level) => [
  level,
  (message, fields = {}) => write(level, String(message), Object.entries(fields).map(([key, value]) => [key, String(value)])),
])));

/** What the user configured, valid for `configSchema`; `{}` if nothing. */
export function config() {
  return JSON.parse(readConfig());
}

/** Whether the run or the step is being cancelled. For long loops. */
export function cancelled() {
  return isCancelled();
}

/** Says how far the call is; `fraction` from 0 to 1 if known. */
export function progress(message, fraction, data) {
  report(String(message), fraction, data === undefined ? undefined : JSON.stringify(data));
}

/** A result that is text, not data. */
export function text(value, summary) {
  return new Output({ tag: 'text', val: String(value) }, summary);
}

/** A result that is data, with what a model reads in its place. */
export function json(value, summary) {
  return new Output({ tag: 'json', val: encode(value) }, summary);
}

class Output {
  constructor(value, summary) {
    Object.assign(this, { value, summary });
  }
}

function encode(value) {
  return JSON.stringify(value === undefined ? null : value);
}

function output(value) {
  if (value instanceof Output) return value;
  if (value instanceof Uint8Array) return new Output({ tag: 'bytes', val: value });
  if (typeof value?.then === 'function') {
    throw new PluginError('internal', 'a tool must not be async: host calls answer at once');
  }
  return json(value);
}

const EFFECTS = ['readOnly', 'destructive', 'idempotent', 'openWorld'];
const TOOL_KEYS = ['name', 'title', 'description', 'input', 'output', 'examples', 'run', ...EFFECTS];
const PLUGIN_KEYS = ['id', 'version', 'summary', 'configSchema', 'tools'];

function refuseUnknown(what, given, known) {
  const stray = Object.keys(given).find((key) => !known.includes(key));
  if (stray !== undefined) throw new TypeError(`${what} has no \`${stray}\`; it has: ${known.join(', ')}`);
}

function definition(tool) {
  refuseUnknown('a tool', tool, TOOL_KEYS);
  if (typeof tool.run !== 'function') throw new TypeError(`tool \`${tool.name}\` has no function \`run\``);
  return {
    name: tool.name,
    title: tool.title,
    description: tool.description ?? '',
    inputSchema: JSON.stringify(tool.input ?? { type: 'object', properties: {}, additionalProperties: false }),
    outputSchema: tool.output === undefined ? undefined : JSON.stringify(tool.output),
    effects: Object.fromEntries(EFFECTS.map((effect) => [effect, tool[effect] === true])),
    examples: (tool.examples ?? []).map(encode),
  };
}

/** The same error in the form that the contract wants. Anything else that was thrown is a fault of the plugin. */
function thrown(error) {
  const ours = error instanceof PluginError;
  if (!ours) log.debug(error?.stack ?? String(error));
  const told = ours ? error : new PluginError('internal', String(error));
  const payload = {
    kind: told.kind,
    code: told.code,
    message: told.message,
    retryable: told.retryable,
    retryAfterMs: told.retryAfterMs === undefined ? undefined : BigInt(told.retryAfterMs),
    detail: told.detail === undefined ? undefined : JSON.stringify(told.detail),
  };
  return Object.assign(new Error(told.message), { payload });
}

/**
 * The exports of a plugin: `export const { lifecycle, tool } = plugin({ id, version, summary, tools });`
 */
export function plugin(about) {
  refuseUnknown('a plugin', about, PLUGIN_KEYS);
  const { id, version = '0.1.0', summary = '', configSchema, tools = [] } = about;
  const definitions = tools.map(definition);
  const byName = new Map(tools.map((tool) => [tool.name, tool]));
  return {
    lifecycle: {
      describe: () => ({
        id,
        version,
        summary,
        configSchema: configSchema === undefined ? undefined : JSON.stringify(configSchema),
      }),
    },
    tool: {
      listTools: () => definitions,
      call(context, name, args) {
        try {
          const tool = byName.get(name);
          if (tool === undefined) throw new PluginError('not-found', `there is no tool \`${name}\``);
          return output(tool.run(JSON.parse(args), context));
        } catch (error) {
          throw thrown(error);
        }
      },
    },
  };
}
