/** A TCP proxy that does to connections what networks do. */

/** One connection through a proxy. */
class TcpLink {
  constructor(readonly client: Deno.TcpConn, readonly server: Deno.TcpConn) {}
}

export class TcpProxy implements AsyncDisposable {
  readonly #listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  readonly #links = new Set<TcpLink>();
  readonly #pumps = new Set<Promise<void>>();
  /** What lets bytes through; not settled while there is a black hole. */
  #open: PromiseWithResolvers<void> | undefined;
  #isRefusing = false;
  /** How long all bytes are held up, in milliseconds. */
  latency = 0;
  /** How many bytes a second get through, each way of each connection. */
  rate = Infinity;
  /** How many connections have come. */
  count = 0;

  /** @param target The port that it leads to. */
  constructor(public target: number) {
    this.#track(this.#accept());
  }

  /** Where to connect to. */
  get url(): string {
    return `ws://127.0.0.1:${this.#listener.addr.port}`;
  }

  /** Cuts all connections. */
  cut(): void {
    for (const { client, server } of this.#links) {
      close(client);
      close(server);
    }
  }

  /** Sends a FIN on each connection to one side, and goes on with the other. */
  async halfClose(side: "client" | "server"): Promise<void> {
    for (const link of this.#links) await link[side].closeWrite();
  }

  /** From now on nothing gets through, and nobody is told. */
  swallow(): void {
    this.#open ??= Promise.withResolvers();
  }

  /** From now on all gets through again, with what was held up. */
  heal(): void {
    this.#open?.resolve();
    this.#open = undefined;
    this.#isRefusing = false;
  }

  /** From now on who comes is cut off at once. */
  refuse(): void {
    this.#isRefusing = true;
  }

  async #accept(): Promise<void> {
    for await (const client of this.#listener) {
      this.count++;
      if (this.#isRefusing) {
        close(client);
        continue;
      }
      const { target: port } = this;
      try {
        const server = await Deno.connect({ hostname: "127.0.0.1", port });
        const link = new TcpLink(client, server);
        this.#links.add(link);
        this.#track(this.#join(link));
      } catch {
        close(client); // nobody is there
      }
    }
  }

  async #join(link: TcpLink): Promise<void> {
    const { client, server } = link;
    await Promise.all([this.#pump(client, server), this.#pump(server, client)]);
    close(client);
    close(server);
    this.#links.delete(link);
  }

  async #pump(from: Deno.TcpConn, to: Deno.TcpConn): Promise<void> {
    const buffer = new Uint8Array(64 * 1024);
    try {
      for (;;) {
        const room = Math.min(buffer.length, Math.ceil(this.rate / 50));
        const size = await from.read(buffer.subarray(0, room));
        if (this.rate < Infinity && size !== null) {
          await new Promise((resolve) =>
            setTimeout(resolve, size / this.rate * 1000)
          );
        }
        if (this.latency > 0) {
          await new Promise((resolve) => setTimeout(resolve, this.latency));
        }
        await this.#open?.promise;
        if (size === null) break;
        for (let at = 0; at < size;) {
          at += await to.write(buffer.subarray(at, size));
        }
      }
      await to.closeWrite();
    } catch {
      // One side is gone: so is the other.
      close(from);
      close(to);
    }
  }

  #track(pump: Promise<void>): void {
    this.#pumps.add(pump);
    pump.finally(() => this.#pumps.delete(pump));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener.close();
    this.heal();
    this.cut();
    await Promise.all(this.#pumps);
  }
}

function close(conn: Deno.TcpConn): void {
  try {
    conn.close();
  } catch {
    // It is closed already.
  }
}
