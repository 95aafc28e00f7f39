/**
 * A server over bare TCP, whose answer to an opening handshake is what the path says. It
 * writes down what it was offered.
 */

import { frame, RawPeer } from "./raw_peer.ts";

/** How a path is answered: how it treats the subprotocols that a client offers. */
export type RawBehaviour =
  /** Ignores them, as most servers do. */
  | "ignore"
  /** Selects one that was not offered. */
  | "wrong"
  /** Echoes the whole list. */
  | "list"
  /** Selects the first one. */
  | "first"
  /** Ignores them, and answers a close with an empty close frame. */
  | "empty-close"
  /** Hangs up if there are any, as libwebsockets does. */
  | "hang-up"
  /** Hangs up on everybody. */
  | "down"
  /** Answers all requests with this status. */
  | `status-${number}`
  /** Answers with this status if there are any. */
  | `refuse-${number}`;

/** A handshake that has come. */
export interface RawHandshake {
  readonly path: string;
  readonly query: string;
  readonly offered: readonly string[];
}

const GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/** Answers handshakes, greets with `hello`, echoes frames, and answers close frames. */
export class RawServer implements AsyncDisposable {
  readonly handshakes: RawHandshake[] = [];
  /** The code and the reason of the first close frame. */
  readonly closed = Promise.withResolvers<string>();
  /** Takes the place of what the path says, if it is set. */
  behaviour: RawBehaviour | undefined;
  readonly #listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  readonly #peers = new Set<RawPeer>();
  readonly #done: Promise<unknown>;

  constructor() {
    this.#done = this.#accept();
  }

  /** The URL of a path that is answered so. */
  url(behaviour: RawBehaviour): string {
    return `ws://127.0.0.1:${this.#listener.addr.port}/${behaviour}`;
  }

  /** What was offered, handshake by handshake: with `events.v1`, without, or nothing. */
  offersOf(behaviour: RawBehaviour): string[] {
    return this.handshakes.filter(({ path }) => path === `/${behaviour}`).map((
      { offered },
    ) =>
      offered.some((one) => one.startsWith("events.v1"))
        ? "events.v1"
        : offered.join()
    );
  }

  /** Sends a frame to all who are there. */
  async write(bytes: Uint8Array): Promise<void> {
    for (const peer of this.#peers) await peer.write(bytes);
  }

  /** Cuts all connections. */
  cut(): void {
    for (const peer of this.#peers) peer.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener.close();
    this.cut();
    await this.#done;
  }

  async #accept(): Promise<void> {
    const open: Promise<void>[] = [];
    for await (const tcp of this.#listener) open.push(this.#serve(tcp));
    await Promise.all(open);
  }

  async #serve(tcp: Deno.TcpConn): Promise<void> {
    using peer = new RawPeer(tcp);
    this.#peers.add(peer);
    try {
      const head = await peer.head();
      const [path = "", query = ""] = (head.split(" ")[1] ?? "").split("?");
      const header = (name: string) =>
        new RegExp(`^${name}: *(.*?)\r?$`, "im").exec(head)?.[1] ?? "";
      const list = header("sec-websocket-protocol");
      const offered = list.split(/, */).filter(Boolean);
      this.handshakes.push({ path, query, offered });
      const behaviour = this.behaviour ?? path.slice(1);
      const [how = "", status = ""] = behaviour.split("-");
      const isOffer = offered.length > 0;
      if (how === "down" || (how === "hang" && isOffer)) return;
      if (how === "status" || (how === "refuse" && isOffer)) {
        await peer.write(
          `HTTP/1.1 ${status} No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n`,
        );
        return;
      }
      const key = header("sec-websocket-key");
      await peer.write(
        [
          "HTTP/1.1 101 Switching Protocols",
          "Upgrade: websocket",
          "Connection: Upgrade",
          `Sec-WebSocket-Accept: ${await acceptOf(key)}`,
          ...selectionOf(how, offered, list).map((one) =>
            `Sec-WebSocket-Protocol: ${one}`
          ),
          "",
          "",
        ].join("\r\n"),
        frame(1, "hello", { masked: false }),
      );
      await this.#echo(peer, how === "empty" ? [] : [3, 232]);
    } catch (error) {
      if (!(error instanceof Error)) throw error;
    } finally {
      this.#peers.delete(peer);
    }
  }

  async #echo(peer: RawPeer, close: number[]): Promise<void> {
    for (;;) {
      const received = await peer.receiveMasked();
      if (!received) return;
      const { opcode, payload } = received;
      if (opcode === 8) this.closed.resolve(closeOf(payload));
      // It answers each close with the same, as many servers do.
      const answer = opcode === 8 ? close : payload;
      await peer.write(frame(opcode, answer, { masked: false }));
      if (opcode === 8) return;
    }
  }
}

/** The code and the reason of a close frame. */
function closeOf(payload: Uint8Array): string {
  const [high = 0, low = 0] = payload;
  return `${high << 8 | low} ${new TextDecoder().decode(payload.subarray(2))}`;
}

function selectionOf(
  how: string,
  offered: readonly string[],
  list: string,
): readonly string[] {
  if (how === "wrong" && offered.length > 0) return ["bogus"];
  if (how === "list" && offered.length > 0) return [list];
  return how === "first" ? offered.slice(0, 1) : [];
}

/** The answer to a key (RFC 6455, section 4.2.2). */
export async function acceptOf(key: string): Promise<string> {
  const bytes = new TextEncoder().encode(key + GUID);
  const hash = await crypto.subtle.digest("SHA-1", bytes);
  return btoa(String.fromCharCode(...new Uint8Array(hash)));
}
