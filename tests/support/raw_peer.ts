/** A peer over bare TCP, which may break every rule of RFC 6455. */

import { deadline } from "@std/async";

const READ_TIMEOUT_MS = 60_000;
const decoder = new TextDecoder();
const encoder = new TextEncoder();

/** A request that may be upgraded. */
export const HANDSHAKE: Readonly<Record<string, string>> = {
  Host: "localhost",
  Connection: "Upgrade",
  Upgrade: "websocket",
  "Sec-WebSocket-Version": "13",
  "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
};

/** The text of a request. */
export function request(
  headers: Readonly<Record<string, string | undefined>>,
  line = "GET / HTTP/1.1",
): string {
  const all = Object.entries(headers).filter(([, value]) =>
    value !== undefined
  );
  return [line, ...all.map(([name, value]) => `${name}: ${value}`), "", ""]
    .join("\r\n");
}

/** A frame as a client sends it: masked, of at most 65,535 bytes. */
export function frame(
  opcode: number,
  payload: string | Uint8Array | number[] = [],
  { fin = true, rsv = 0, masked = true } = {},
): Uint8Array {
  const bytes = typeof payload === "string"
    ? encoder.encode(payload)
    : Uint8Array.from(payload);
  const { length } = bytes;
  const mask = masked ? [1, 2, 3, 4] : [];
  const bit = masked ? 0x80 : 0;
  const head = [
    (fin ? 0x80 : 0) | rsv | opcode,
    ...(length < 126 ? [bit | length] : [bit | 126, length >> 8, length & 255]),
    ...mask,
  ];
  return Uint8Array.from([
    ...head,
    ...bytes.map((byte, i) => byte ^ (mask[i % 4] ?? 0)),
  ]);
}

/** A close frame. */
export function closeFrame(code?: number, reason = ""): Uint8Array {
  if (code === undefined) return frame(8);
  return frame(8, [code >> 8, code & 255, ...encoder.encode(reason)]);
}

/** A frame that a server has sent. */
export interface Received {
  readonly opcode: number;
  readonly payload: Uint8Array;
}

export class RawPeer implements Disposable {
  #buffer = new Uint8Array();
  #isClosed = false;

  constructor(readonly tcp: Deno.TcpConn) {}

  /** Connects without a word. */
  static async connect(port: number): Promise<RawPeer> {
    return new RawPeer(await Deno.connect({ hostname: "127.0.0.1", port }));
  }

  /** Connects, and completes the opening handshake. */
  static async open(
    port: number,
    path = "/",
    protocol?: string,
  ): Promise<RawPeer> {
    const peer = await RawPeer.connect(port);
    const headers = { ...HANDSHAKE, "Sec-WebSocket-Protocol": protocol };
    await peer.write(request(headers, `GET ${path} HTTP/1.1`));
    const head = await peer.head();
    if (!head.startsWith("HTTP/1.1 101 ")) throw new Error(head);
    return peer;
  }

  /** Writes all of it. False if the other end is gone. */
  async write(...parts: (string | Uint8Array)[]): Promise<boolean> {
    try {
      for (const part of parts) {
        const bytes = typeof part === "string" ? encoder.encode(part) : part;
        for (let at = 0; at < bytes.length;) {
          at += await this.tcp.write(bytes.subarray(at));
        }
      }
      return true;
    } catch {
      return false;
    }
  }

  /** The head of an HTTP answer. */
  async head(): Promise<string> {
    for (;;) {
      const text = decoder.decode(this.#buffer);
      const end = text.indexOf("\r\n\r\n");
      if (end >= 0) {
        this.#buffer = this.#buffer.slice(end + 4);
        return text.slice(0, end);
      }
      if (!await this.#fill()) throw new Error(`No answer but "${text}"`);
    }
  }

  /** So many bytes, as text. */
  async text(length: number): Promise<string> {
    while (this.#buffer.length < length) {
      if (!await this.#fill()) throw new Error("It ended half way");
    }
    const text = decoder.decode(this.#buffer.subarray(0, length));
    this.#buffer = this.#buffer.slice(length);
    return text;
  }

  /** The next frame; undefined at the end of TCP. */
  async receive(): Promise<Received | undefined> {
    for (;;) {
      const [first = 0, second = 0, high = 0, low = 0] = this.#buffer;
      const isLong = second === 126;
      const length = isLong ? high << 8 | low : second;
      const start = isLong ? 4 : 2;
      if (this.#buffer.length >= start + length && this.#buffer.length >= 2) {
        const payload = this.#buffer.slice(start, start + length);
        this.#buffer = this.#buffer.slice(start + length);
        return { opcode: first & 15, payload };
      }
      if (!await this.#fill()) return undefined;
    }
  }

  /** The next frame of a client, unmasked; undefined at the end of TCP. */
  async receiveMasked(): Promise<Received | undefined> {
    for (;;) {
      const [first = 0, second = 0, high = 0, low = 0] = this.#buffer;
      const length = second & 127;
      const isLong = length === 126;
      const size = isLong ? high << 8 | low : length;
      const start = isLong ? 8 : 6;
      if (this.#buffer.length >= start + size && this.#buffer.length >= 6) {
        const mask = this.#buffer.slice(start - 4, start);
        const payload = this.#buffer.slice(start, start + size)
          .map((byte, i) => byte ^ (mask[i % 4] ?? 0));
        this.#buffer = this.#buffer.slice(start + size);
        return { opcode: first & 15, payload };
      }
      if (!await this.#fill()) return undefined;
    }
  }

  /** What the server ends with: `code reason` of its close frame, or `EOF`. */
  async end(): Promise<string> {
    for (;;) {
      const received = await this.receive();
      if (received === undefined) return "EOF";
      if (received.opcode === 8) {
        const [high = 0, low = 0, ...reason] = received.payload;
        const code = received.payload.length < 2 ? "none" : high << 8 | low;
        return `${code} ${decoder.decode(Uint8Array.from(reason))}`;
      }
    }
  }

  async #fill(): Promise<boolean> {
    const chunk = new Uint8Array(65_536);
    let count: number | null;
    try {
      count = await deadline(this.tcp.read(chunk), READ_TIMEOUT_MS);
    } catch (error) {
      if (error instanceof DOMException) throw error;
      return false; // it was reset
    }
    if (count === null) return false;
    const joined = new Uint8Array(this.#buffer.length + count);
    joined.set(this.#buffer);
    joined.set(chunk.subarray(0, count), this.#buffer.length);
    this.#buffer = joined;
    return true;
  }

  /** Ends TCP. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.tcp.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
