export declare function exists(name: string): boolean;
export declare function placeholder(name: string): string;
