export declare function invoke(name: string, args?: { [key: string]: unknown }): any;
