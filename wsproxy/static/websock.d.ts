/** Types of websock.js; what everything does is told there. */

export interface ReconnectOptions {
    /** Milliseconds. */
    minDelay?: number;
    /** Milliseconds. */
    maxDelay?: number;
    /** In a row, without a byte received. */
    attempts?: number;
}

export interface WebsockOptions {
    /** Bytes. */
    maxReceive?: number;
    /** Bytes. */
    maxSend?: number;
    reconnect?: boolean | ReconnectOptions;
    WebSocket?: new (url: string | URL, protocols?: string | string[]) => WebSocket;
    clock?: {
        setTimeout(callback: () => void, delay: number): unknown;
        clearTimeout(timer: unknown): void;
    };
    random?: () => number;
}

export interface WebsockEvents {
    open: () => void;
    message: () => void;
    /** An attached RTCDataChannel closes with a plain Event. */
    close: (event: CloseEvent) => void;
    error: (event: Event | Error) => void;
    reconnect: (event: { attempt: number; delay: number }) => void;
}

export type WebsockState = "unused" | "connecting" | "open" | "closing" | "closed";

export type WebsockData = number[] | ArrayBuffer | ArrayBufferView;

export declare class Websock {
    constructor(options?: WebsockOptions);

    open(url: string | URL, protocols?: string | string[]): void;
    attach(channel: WebSocket | RTCDataChannel): void;
    close(code?: number, reason?: string): void;
    get readyState(): WebsockState;
    get reconnecting(): boolean;
    get protocol(): string;
    get bufferedAmount(): number;

    on<Name extends keyof WebsockEvents>(event: Name, handler: WebsockEvents[Name]): void;
    off<Name extends keyof WebsockEvents>(event: Name, handler?: WebsockEvents[Name]): void;

    send(data: WebsockData): boolean;
    queue(data: WebsockData): boolean;
    flush(): boolean;
    sendString(text: string): boolean;
    send_string(text: string): boolean;
    get sQ(): Uint8Array;
    get_sQ(): Uint8Array;

    rQlen(): number;
    get rQ(): Uint8Array;
    get_rQ(): Uint8Array;
    rQwhole(): Uint8Array;
    get rQi(): number;
    set rQi(index: number);
    get_rQi(): number;
    set_rQi(index: number): void;
    rQpeek8(): number;
    rQshift8(): number;
    rQpop8(): number;
    rQshift16(): number;
    rQshift32(): number;
    rQshiftStr(length?: number): string;
    rQshiftBytes(length?: number): Uint8Array;
    rQshiftTo(target: Uint8Array | Uint8ClampedArray, length?: number): void;
    rQskipBytes(length: number): void;
    rQslice(start?: number, end?: number): Uint8Array;
    rQwait(what: string, count: number, goback?: number): boolean;
}

export default Websock;
