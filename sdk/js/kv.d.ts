export interface Entry { value: any; version: bigint }
export declare function get(key: string): any;
export declare function entry(key: string): Entry | undefined;
/** Gives the new version. */
export declare function set(key: string, value: unknown, options?: { ttlMs?: number; version?: bigint; absent?: boolean }): bigint;
export declare function remove(key: string, options?: { version?: bigint }): bigint;
export declare function scan(prefix: string, pageSize?: number): Generator<Entry & { key: string }>;
