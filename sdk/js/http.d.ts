import type { PluginError } from './cofferdam.js';

export interface Options {
  /** Upper case; `GET` without it. */
  method?: string;
  headers?: { [name: string]: string };
  body?: string | Uint8Array;
  /** A body as JSON, with its content type. */
  json?: unknown;
  timeoutMs?: number;
  maxResponseBytes?: number;
}

export declare class Response {
  status: number;
  /** Whether the status is 200 to 299. */
  ok: boolean;
  /** In the order received, names in lower case. */
  headers: [string, string][];
  body: Uint8Array;
  /** The URL that answered, after redirects. */
  finalUrl: string;
  header(name: string): string | undefined;
  text(): string;
  json(): any;
}

export declare function fetch(url: string | URL, options?: Options): Response;
export declare function fetchMany(requests: (Options & { url: string })[], limit?: number): (Response | PluginError)[];
