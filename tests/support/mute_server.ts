/**
 * A server that says nothing: below `/mute` not after the opening handshake, anywhere
 * else not even that.
 */

const GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

export class MuteServer implements AsyncDisposable {
  readonly #listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  readonly #open = new Set<Deno.TcpConn>();
  readonly #done = this.#accept();
  /** How many connections have come. */
  count = 0;
  #settled: (() => void) | undefined;

  /** Where to connect to. */
  get url(): string {
    return `ws://127.0.0.1:${this.#listener.addr.port}`;
  }

  /** Waits until no connection is left. */
  async deserted(): Promise<void> {
    while (this.#open.size > 0) {
      await new Promise<void>((resolve) => this.#settled = resolve);
    }
  }

  async #accept(): Promise<void> {
    const all: Promise<void>[] = [];
    for await (const tcp of this.#listener) {
      this.count++;
      this.#open.add(tcp);
      all.push(this.#serve(tcp));
    }
    await Promise.all(all);
  }

  async #serve(tcp: Deno.TcpConn): Promise<void> {
    const buffer = new Uint8Array(4_096);
    let head = "";
    let isUpgraded = false;
    try {
      for (;;) {
        const size = await tcp.read(buffer);
        if (size === null) break;
        head += new TextDecoder().decode(buffer.subarray(0, size));
        if (isUpgraded || !head.startsWith("GET /mute")) continue;
        const [, key] = /^sec-websocket-key: *(\S+)/im.exec(head) ?? [];
        if (key === undefined || !head.includes("\r\n\r\n")) continue;
        isUpgraded = true;
        const hash = await crypto.subtle.digest(
          "SHA-1",
          new TextEncoder().encode(key + GUID),
        );
        const lines = [
          "HTTP/1.1 101 Switching Protocols",
          "Upgrade: websocket",
          "Connection: Upgrade",
          `Sec-WebSocket-Accept: ${new Uint8Array(hash).toBase64()}`,
        ];
        const response = `${lines.join("\r\n")}\r\n\r\n`;
        await tcp.write(new TextEncoder().encode(response));
      }
    } catch {
      // The peer has reset it.
    } finally {
      this.#open.delete(tcp);
      this.#settled?.();
      try {
        tcp.close();
      } catch {
        // It is closed already.
      }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener.close();
    for (const tcp of this.#open) tcp.close();
    await this.#done;
  }
}
