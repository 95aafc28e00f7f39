/** Messages of one connection that are handled in turn, and loops over them. */

import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertRejects,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import { deadline } from "@std/async";
import {
  type ClientOptions,
  ClientSocket,
  type Connection,
  ConnectionEndedError,
  type ServerOptions,
  ServerSocket,
} from "../../mod.ts";
import { listenForTest } from "../support/listen_for_test.ts";

/** A server and a client of it. */
class Pair implements AsyncDisposable {
  constructor(
    readonly server: ServerSocket,
    readonly client: ClientSocket,
    /** What the server calls the client. */
    readonly peer: Connection,
    readonly url: string,
  ) {}

  async [Symbol.asyncDispose](): Promise<void> {
    await this.client.close();
    await this.server.close();
  }
}

function test(
  name: string,
  fn: (pair: Pair) => Promise<void>,
  ofServer: ServerOptions = {},
  ofClient: ClientOptions = {},
): void {
  Deno.test({
    name,
    fn: async () => {
      const server = new ServerSocket(ofServer);
      const url = await listenForTest(server);
      const client = new ClientSocket(ofClient);
      const connected = server.waitFor("connect");
      await client.connect(url);
      const [peer] = await connected;
      await using pair = new Pair(server, client, peer, url);
      await deadline(fn(pair), 20_000);
    },
  });
}

/** A listener that is done with a message when it is told so. */
class Slow {
  readonly begun: string[] = [];
  #open: (() => void)[] = [];
  #begin: (() => void) | undefined;

  readonly listener = ({ content }: { content: string }): Promise<void> => {
    this.begun.push(content);
    this.#begin?.();
    return new Promise((resolve) => this.#open.push(resolve));
  };

  /** Lets the listener be done with what it has begun longest ago. */
  finish(): void {
    this.#open.shift()?.();
  }

  /** Waits until so many have begun. */
  async until(count: number): Promise<void> {
    while (this.begun.length < count) {
      await new Promise<void>((resolve) => this.#begin = resolve);
    }
  }
}

for (const plain of [false, true]) {
  const how = plain ? "a plain peer" : "our own end";
  test(
    `concurrency: 1 handles one message of ${how} after the other`,
    async ({ server, client, peer }) => {
      const ofServer = new Slow();
      const ofPeer = new Slow();
      server.on("message", ofServer.listener);
      peer.on("message", ofPeer.listener);
      for (const text of ["a", "b", "c"]) await client.send(text);
      await ofPeer.until(1);
      ofServer.finish();
      // The other listener is not done yet: a round trip changes nothing.
      const answer = client.waitFor("message");
      await peer.send("anything");
      await answer;
      assertEquals([ofServer.begun, ofPeer.begun], [["a"], ["a"]]);
      ofPeer.finish();
      await ofPeer.until(2);
      assertEquals([ofServer.begun, ofPeer.begun], [["a", "b"], ["a", "b"]]);
      for (const slow of [ofServer, ofPeer]) slow.finish();
      await ofPeer.until(3);
      for (const slow of [ofServer, ofPeer]) slow.finish();
    },
    { concurrency: 1 },
    { plain },
  );
}

test(
  "concurrency: 2 handles two at a time, and a handler of requests counts",
  async ({ server, client }) => {
    const slow = new Slow();
    server.on("message", slow.listener);
    server.handle("ask", slow.listener);
    client.send("a");
    const answer = client.request({ type: "ask" });
    client.send("b");
    client.send("c");
    await slow.until(2);
    assertEquals(slow.begun, ["a", '{"type":"ask"}']);
    slow.finish();
    await slow.until(3);
    slow.finish();
    assertStrictEquals(await answer, null);
    await slow.until(4);
    assertEquals(slow.begun.slice(2), ["b", "c"]);
  },
  { concurrency: 2 },
);

test(
  "concurrency continues after a listener throws or rejects",
  async ({ server, client }) => {
    const errors: unknown[] = [];
    const heard: string[] = [];
    server.on("error", (error) => errors.push(error));
    server.on("message", ({ content }) => {
      heard.push(content);
      if (content === "throw") throw 1;
      return content === "reject" ? Promise.reject(2) : undefined;
    });
    for (const text of ["throw", "reject", "end"]) client.send(text);
    await server.waitFor("message", { filter: (m) => m.content === "end" });
    assertEquals(heard, ["throw", "reject", "end"]);
    assertEquals(errors, [1, 2]);
  },
  { concurrency: 1 },
);

test(
  "concurrency slows down a fast client without loss",
  async ({ server, client, peer }) => {
    const slow = new Slow();
    server.on("message", slow.listener);
    let sent = 0;
    const sending = (async () => {
      for (let n = 0; n < 3_000; n++) {
        await client.send(String(n));
        sent++;
      }
    })();
    await slow.until(1);
    // Nothing more can be sent, whatever is waited for: each way does a round trip.
    for (let i = 0; i < 20; i++) {
      const answer = client.waitFor("message");
      await peer.send("anything");
      await answer;
    }
    assert(sent <= 1_024, `${sent} were sent`);
    assert(client.bufferedAmount > 0);
    const rest = (async () => {
      for (let n = 1; n <= 3_000; n++) {
        await slow.until(n);
        slow.finish();
      }
    })();
    await Promise.all([sending, rest]);
    assertEquals(slow.begun, Array.from({ length: 3_000 }, (_, n) => `${n}`));
    assertStrictEquals(client.bufferedAmount, 0);
    assertStrictEquals(peer.readyState, 1);
  },
  { concurrency: 1 },
);

test(
  "replies need no credit",
  async ({ server, client, peer }) => {
    const gate = Promise.withResolvers<void>();
    server.on("message", () => gate.promise);
    client.on("message", () => gate.promise);
    const both = [client, peer].map((one) =>
      Array.from({ length: 2_000 }, (_, n) => one.send(n))
    );
    await assertRejects(() => client.request("x", { timeout: 1 }));
    server.on("message", () => {});
    gate.resolve();
    await Promise.all(both.flat());
    server.handle("ask", async ({ author }) => {
      return String(await author.request({ type: "back" }));
    });
    client.handle("back", () => "there");
    assertStrictEquals(await client.request({ type: "ask" }), "there");
  },
  { concurrency: 1 },
  { concurrency: 1 },
);

test(
  "concurrency closes a plain peer with 1008 if too much waits",
  async ({ server, client }) => {
    const slow = new Slow();
    const errors: unknown[] = [];
    server.on("error", (error) => errors.push(error));
    server.on("message", slow.listener);
    const ended = client.waitFor("close");
    const ofServer = server.waitFor("close");
    for (let n = 0; n < 1_100; n++) client.send("x");
    const [code, reason] = await ended;
    assertEquals([code, reason], [
      1008,
      "Too many messages wait to be handled",
    ]);
    assertEquals((await ofServer).slice(1), [
      1008,
      "Too many messages wait to be handled",
      "limit",
    ]);
    assertStrictEquals(slow.begun.length, 1);
    assertStrictEquals(errors.length, 1);
  },
  { concurrency: 1, closeTimeout: 1_000 },
  { plain: true },
);

test(
  "concurrency handles queued messages before the end",
  async ({ server, client }) => {
    const slow = new Slow();
    const told: string[] = [];
    server.on("message", (message) => {
      told.push(message.content);
      return slow.listener(message);
    });
    server.on("close", (_client, code) => told.push(`close ${code}`));
    for (const text of ["a", "b", "c"]) client.send(text);
    await client.close(4000);
    assertEquals(told, ["a"]);
    slow.finish();
    await slow.until(2);
    slow.finish();
    await slow.until(3);
    assertEquals(told, ["a", "b", "c", "close 4000"]);
  },
  { concurrency: 1 },
);

test(
  "concurrency emits the end within closeTimeout",
  async ({ server, client }) => {
    const slow = new Slow();
    server.on("message", slow.listener);
    const error = server.waitFor("error");
    const ended = server.waitFor("close");
    for (const text of ["a", "b", "c"]) client.send(text);
    await client.close();
    const [why] = await error;
    assertInstanceOf(why, Error);
    assert(why.message.includes("the last 2 messages"), why.message);
    await ended;
    assertEquals(slow.begun, ["a"]);
  },
  { concurrency: 1, closeTimeout: 50 },
);

test(
  "messages() iterates in order until the end",
  async ({ client, peer }) => {
    const heard: unknown[] = [];
    const loop = (async () => {
      for await (const { data } of peer.messages()) heard.push(data);
      heard.push("over");
    })();
    for (const n of [1, 2, 3]) client.send(n);
    await client.close();
    await loop;
    assertEquals(heard, [1, 2, 3, "over"]);
    for await (const _ of peer.messages()) assert(false, "it is over");
  },
);

test(
  "messages() slows down the sender with concurrency: 1",
  async ({ client, peer }) => {
    const messages = peer.messages();
    let sent = 0;
    const sending = (async () => {
      for (let n = 0; n < 2_500; n++) {
        await client.send(n);
        sent++;
      }
    })();
    assertStrictEquals((await messages.next()).value?.data, 0);
    for (let i = 0; i < 10; i++) {
      const answer = client.waitFor("message");
      await peer.send("anything");
      await answer;
    }
    assert(sent <= 1_024, `${sent} were sent`);
    let next = 1;
    for await (const { data } of messages) {
      assertStrictEquals(data, next++);
      if (next === 2_500) break;
    }
    await sending;
  },
  { concurrency: 1 },
);

test("messages() releases everything on break", async ({ client, peer }) => {
  client.send("a");
  client.send("b");
  const heard: string[] = [];
  for await (const { content } of peer.messages()) {
    heard.push(content);
    break;
  }
  const again = peer.waitFor("message");
  client.send("c");
  await again;
  assertEquals(heard, ["a"]);
});

test(
  "ClientSocket.messages() continues after a reconnect",
  async ({ server, client }) => {
    const heard: string[] = [];
    const loop = (async () => {
      for await (const { content } of client.messages()) {
        heard.push(content);
        if (content === "one") {
          for (const one of server.clients) {
            one.terminate();
          }
        } else client.close();
      }
    })();
    server.on("connect", (one) => one.send("two"));
    server.broadcast("one");
    await loop;
    assertEquals(heard, ["one", "two"]);
  },
  {},
  { reconnect: { initialDelay: 1 } },
);

test("throwIfLost throws only after a loss", async ({ server, client, peer, url }) => {
  const loop = async (one: Connection) => {
    for await (const _ of one.messages({ throwIfLost: true }));
  };
  const lost = assertRejects(() => loop(peer), ConnectionEndedError);
  const silent = (async () => {
    for await (const _ of peer.messages());
  })();
  peer.terminate();
  await silent;
  const error = await lost;
  assertStrictEquals(error.end?.type, "disconnect");
  await client.waitFor("disconnect").catch(() => {});
  await assertRejects(() => loop(peer), ConnectionEndedError);
  const connected = server.waitFor("connect");
  await client.connect(url);
  const [next] = await connected;
  const clean = loop(next);
  await client.close();
  await clean;
});

test("ServerSocket.messages() iterates over messages of all clients until shutdown", async ({ server, client, url }) => {
  const heard: string[] = [];
  const loop = (async () => {
    for await (const { content } of server.messages()) heard.push(content);
  })();
  await using other = new ClientSocket();
  await other.connect(url);
  client.send("a");
  await server.waitFor("message");
  other.send("b");
  await server.waitFor("message");
  await server.close();
  await loop;
  assertEquals(heard, ["a", "b"]);
});

Deno.test("concurrency is validated by the constructor", () => {
  for (const concurrency of [0, -1, NaN]) {
    assertThrows(
      () => new ServerSocket({ concurrency }),
      RangeError,
      `"concurrency" unless it is 1 or more: current value is ${concurrency}`,
    );
  }
  new ClientSocket({ concurrency: 1 });
});
