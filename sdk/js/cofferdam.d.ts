/** A JSON Schema 2020-12. */
export type Schema = { [key: string]: unknown };

export type ErrorKind =
  | 'invalid-input' | 'not-found' | 'conflict' | 'denied' | 'auth-required' | 'rate-limited' | 'timeout'
  | 'unavailable' | 'cancelled' | 'too-large' | 'unsupported' | 'internal' | 'other';

export declare const ERROR_KINDS: readonly ErrorKind[];

export interface ErrorFacts {
  /** Short and stable, for programs. */
  code?: string;
  /** Overrides what the kind says about trying again. */
  retryable?: boolean;
  /** The earliest useful moment to try again, from now, in milliseconds. */
  retryAfterMs?: number;
  /** More facts, for programs. */
  detail?: unknown;
}

/** A failure that a tool reports on purpose, or that the host answered with. */
export declare class PluginError extends Error implements ErrorFacts {
  constructor(kind: ErrorKind, message: string, facts?: ErrorFacts);
  kind: ErrorKind;
  code?: string;
  retryable?: boolean;
  retryAfterMs?: number;
  detail?: unknown;
}

/** Where in a run a call happens. */
export interface CallContext {
  runId: string;
  stepPath: string;
  /** From 1. */
  attempt: number;
  /** Send it with every external write. */
  idempotencyKey: string;
  /** Milliseconds since the Unix epoch. */
  deadline: bigint;
  traceparent: string;
  ext: [string, string][];
}

/** A result in a form of its own; made by `text` and `json`. */
export interface Output { readonly value: unknown; readonly summary?: string }

/** One tool. What is not set of its effects gets the cautious answer. */
export interface Tool<Args = any, Result = unknown> {
  /** Letters, digits, `_` and `-`, at most 64. */
  name: string;
  /** A short name for people. */
  title?: string;
  /** What it does and when to use it: this is what a model decides by. */
  description: string;
  /** The arguments: a schema with `type: 'object'`. None are taken without it. */
  input?: Schema;
  /** The result. The host checks it. */
  output?: Schema;
  /** It changes nothing anywhere. */
  readOnly?: boolean;
  /** It may destroy or overwrite. */
  destructive?: boolean;
  /** Calling it again changes nothing more. */
  idempotent?: boolean;
  /** It reaches beyond the step's directory. */
  openWorld?: boolean;
  /** Arguments that are valid. */
  examples?: Args[];
  /** Does it. Not async: data, `text(...)`, `json(...)` or bytes come back, or a `PluginError` is thrown. */
  run(args: Args, context: CallContext): Result | Output | Uint8Array;
}

export interface About {
  /** `owner/name`, lower case. */
  id: string;
  /** Semantic version; `0.1.0` without it. */
  version?: string;
  /** One line for people. */
  summary?: string;
  /** What may be configured; nothing without it. */
  configSchema?: Schema;
  tools: Tool[];
}

/** `export const { lifecycle, tool } = plugin({ ... });` */
export declare function plugin(about: About): { lifecycle: object; tool: object };
export declare function text(value: string, summary?: string): Output;
export declare function json(value: unknown, summary?: string): Output;
export declare function config<T = { [key: string]: unknown }>(): T;
export declare function cancelled(): boolean;
export declare function progress(message: string, fraction?: number, data?: unknown): void;
type Write = (message: string, fields?: { [key: string]: unknown }) => void;
export declare const log: { trace: Write; debug: Write; info: Write; warn: Write; error: Write };
/** Calls the host, and throws its refusals as `PluginError`. */
export declare function ask<T>(call: () => T): T;
