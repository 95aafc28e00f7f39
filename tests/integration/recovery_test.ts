/** What a client gets that comes back, from a server that keeps messages in memory. */

import { assert, assertEquals, assertMatch, assertThrows } from "@std/assert";
import { ClientSocket, type ServerOptions, ServerSocket } from "../../mod.ts";
import { deadline, delay } from "@std/async";
import { type Broker, brokers, missingBrokers } from "../support/brokers.ts";
import { BROKER_PERMISSIONS, lacksPermission } from "../support/permissions.ts";

const ignore = await lacksPermission("net");
const ignoreBrokers = await lacksPermission(...BROKER_PERMISSIONS);

/** A server that keeps messages, and somebody in its rooms. */
async function start(options: ServerOptions = {}): Promise<ServerSocket> {
  const server = new ServerSocket({ history: true, ...options });
  server.on("connect", (client, path) => {
    for (const room of path.split("/").slice(1)) client.join(room);
    client.send("ready");
  });
  await server.listen("127.0.0.1", 0);
  return server;
}

/** A client that comes back when the test lets it, and writes down what it hears. */
class Visitor implements AsyncDisposable {
  readonly heard: string[] = [];
  readonly client: ClientSocket;
  #gate: PromiseWithResolvers<void> | undefined;

  constructor(public server: ServerSocket, public rooms: string) {
    this.client = new ClientSocket({
      reconnect: { initialDelay: 1, maxDelay: 1 },
    });
    this.client.on("message", ({ content }) => {
      if (content !== "ready" && content !== "?") this.heard.push(content);
    });
    this.client.on("recovery", (recovered) => {
      this.heard.push(recovered ? "recovered" : "lost");
    });
  }

  async enter(): Promise<this> {
    const ready = this.client.waitFor("message");
    await this.client.connect(async () => {
      await this.#gate?.promise;
      return `${this.server.url}/${this.rooms}`;
    });
    await ready;
    await this.positioned();
    await this.settle();
    this.heard.length = 0;
    return this;
  }

  /**
   * Waits until it has its position in the rooms. A broker is asked for that, which
   * takes a few messages.
   */
  async positioned(): Promise<void> {
    const room = this.rooms.split("/").find((room) => room !== "");
    if (room === undefined) return;
    for (let n = 0; n < 4; n++) {
      await this.#hears("?", () => this.server.to(room).send("?"));
    }
  }

  /** Waits until everything that its server has sent to it has arrived. */
  async settle(): Promise<void> {
    await this.#hears("settled", () => this.#only().send("settled"));
  }

  /** Loses its connection. */
  async lose(): Promise<void> {
    this.#gate = Promise.withResolvers();
    const lost = this.client.waitFor("disconnect");
    this.#only().terminate();
    await lost;
  }

  /** Lets it come back. */
  release(): void {
    this.#gate?.resolve();
  }

  /** Comes back, and gets what it has missed. */
  async comeBack(): Promise<string[]> {
    const told = this.client.waitFor("recovery");
    this.#gate?.resolve();
    await told;
    await this.settle();
    return this.heard.splice(0).filter((text) => text !== "settled");
  }

  async #hears(text: string, action: () => void): Promise<void> {
    const filter = ({ content }: { content: string }) => content === text;
    const heard = this.client.waitFor("message", { filter });
    action();
    await heard;
  }

  /** The server's side of its connection. */
  #only() {
    const [own] = [...this.server.clients].filter(({ path }) =>
      path === `/${this.rooms}`
    );
    assert(own);
    return own;
  }

  get author() {
    return this.#only();
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#gate?.resolve();
    return this.client.close();
  }
}

Deno.test(
  "history replays missed messages in order before new ones",
  { ignore },
  async () => {
    await using server = await start();
    await using visitor = await new Visitor(server, "a/b").enter();
    server.to("a").send("live");
    await visitor.client.waitFor("message");
    visitor.heard.length = 0;
    await visitor.lose();
    server.to("a").send("1");
    server.to("b").send("2");
    server.to("c").send("no");
    server.to("a", "b").send("3");
    server.broadcast("4");
    server.to("a").except("b").send("not in b");
    server.to("b").send("5");
    assertEquals(await visitor.comeBack(), [
      "1",
      "2",
      "3",
      "4",
      "5",
      "recovered",
    ]);
    server.to("a").send("6");
    await visitor.client.waitFor("message");
    assertEquals(visitor.heard, ["6"]);
  },
);

Deno.test(
  "history replays bytes, blobs and values",
  { ignore },
  async () => {
    await using server = await start();
    await using visitor = await new Visitor(server, "a").enter();
    const got: unknown[] = [];
    visitor.client.on("message", ({ isBinary, bytes, data }) => {
      got.push(isBinary ? [...bytes] : data);
    });
    const bytes = new Uint8Array([0xc1, 2, 3]);
    await visitor.lose();
    server.to("a").send(bytes);
    bytes[1] = 9;
    server.to("a").send(new Blob([new Uint8Array([7, 8])]));
    server.to("a").send({ n: 1 });
    server.to("a").send("\u0001=odd\u001e");
    await visitor.comeBack();
    assertEquals(got.slice(1, -1), [
      [0xc1, 2, 3],
      [7, 8],
      { n: 1 },
      "\u0001=odd\u001e",
    ]);
  },
);

Deno.test(
  "history reports more missed messages than stored",
  { ignore },
  async () => {
    await using server = await start({ history: { messages: 3 } });
    await using visitor = await new Visitor(server, "a/b").enter();
    await visitor.lose();
    for (const n of [1, 2, 3]) server.to("a").send(`a${n}`);
    for (const n of [1, 2, 3]) server.to("b").send(`b${n}`);
    assertEquals((await visitor.comeBack()).length, 7);
    await visitor.lose();
    for (const n of [1, 2, 3, 4]) server.to("a").send(`a${n}`);
    assertEquals(await visitor.comeBack(), ["lost"]);
    await visitor.lose();
    server.to("a").send("next");
    assertEquals(await visitor.comeBack(), ["next", "recovered"]);
  },
);

Deno.test(
  "history reports a disconnect longer than maxAge",
  { ignore },
  async () => {
    await using server = await start({ history: { maxAge: 1 } });
    await using visitor = await new Visitor(server, "a").enter();
    await visitor.lose();
    server.to("a").send("1");
    await new Promise((resolve) => setTimeout(resolve, 5));
    assertEquals(await visitor.comeBack(), ["lost"]);
  },
);

Deno.test(
  "history reports a server without history",
  { ignore },
  async () => {
    const first = await start();
    await using visitor = await new Visitor(first, "a").enter();
    await visitor.lose();
    await first.close();
    await using second = new ServerSocket();
    await second.listen("127.0.0.1", 0);
    visitor.server = second;
    assertEquals(await visitor.comeBack(), ["lost"]);
  },
);

Deno.test(
  "history does not replay messages to excluded clients",
  { ignore },
  async () => {
    await using server = await start();
    await using visitor = await new Visitor(server, "a").enter();
    const { author } = visitor;
    server.to("a").except(author).send("from me");
    server.to("a").send("heard");
    await visitor.client.waitFor("message");
    visitor.heard.length = 0;
    server.to("a").except(author).send("from me, too");
    await visitor.lose();
    server.broadcast("from me, late", { except: author });
    server.to("a").send("2");
    assertEquals(await visitor.comeBack(), ["2", "recovered"]);
  },
);

Deno.test(
  "history replays messages of rejoined rooms",
  { ignore },
  async () => {
    await using server = await start();
    server.on("connect", async (client) => {
      await Promise.resolve();
      client.join("late");
    });
    await using visitor = await new Visitor(server, "a").enter();
    visitor.author.leave("late");
    visitor.author.join("other");
    server.to("late").send("not there");
    await visitor.lose();
    server.to("other").send("left by the loss");
    server.to("a").send("1");
    server.to("late").send("2");
    assertEquals(
      (await visitor.comeBack()).filter((text) => text !== "not there"),
      ["1", "2", "recovered"],
    );
  },
);

Deno.test("history replays nothing from before a join, and nothing twice", {
  ignore,
}, async () => {
  await using server = await start();
  await using other = await new Visitor(server, "a").enter();
  await using visitor = await new Visitor(server, "b").enter();
  server.to("a").send("before");
  await other.client.waitFor("message");
  visitor.author.join("a");
  server.to("b").send("settle");
  await visitor.client.waitFor("message");
  visitor.author.leave("a");
  visitor.heard.length = 0;
  await visitor.lose();
  server.on("connect", (client) => client.join("a"));
  server.to("a").send("1");
  assertEquals(await visitor.comeBack(), ["1", "recovered"]);
  await visitor.lose();
  assertEquals(await visitor.comeBack(), ["recovered"]);
});

Deno.test(
  "It is told if it has missed more than may wait for it, and not cut again and again",
  { ignore },
  async () => {
    await using server = await start({ maxBufferedAmount: 1_000 });
    await using visitor = await new Visitor(server, "a").enter();
    await visitor.lose();
    for (let n = 0; n < 5; n++) server.to("a").send("x".repeat(400));
    assertEquals(await visitor.comeBack(), ["lost"]);
    await visitor.lose();
    server.to("a").send("next");
    assertEquals(await visitor.comeBack(), ["next", "recovered"]);
  },
);

Deno.test(
  "history.maxBytes reports removed messages",
  { ignore },
  async () => {
    await using server = await start({ history: { maxBytes: 100_000 } });
    await using visitor = await new Visitor(server, "a").enter();
    await using other = await new Visitor(server, "b").enter();
    await visitor.lose();
    server.to("a").send("missed");
    for (let n = 0; n < 100; n++) server.to("b").send(`${n}`.repeat(5_000));
    assertEquals(await visitor.comeBack(), ["lost"]);
    await other.lose();
    server.to("b").send("1");
    assertEquals((await other.comeBack()).slice(-2), ["1", "recovered"]);
  },
);

Deno.test(
  "history limits held messages by maxBufferedAmount",
  { ignore },
  async () => {
    const server = new ServerSocket({
      history: true,
      maxBufferedAmount: 9_000,
    });
    await using _server = server;
    let count = 0;
    server.on("connect", async (client) => {
      client.join("a");
      client.send("ready");
      if (count++ === 0) return;
      for (let n = 0; n < 20; n++) {
        server.to("a").send(`${n}`.padEnd(1_000));
        await delay(0);
      }
      server.to("a").send("last");
    });
    await server.listen("127.0.0.1", 0);
    await using visitor = await new Visitor(server, "a").enter();
    await visitor.lose();
    assertEquals(await visitor.comeBack(), ["lost"]);
    server.to("a").send("next");
    await visitor.client.waitFor("message");
    assertEquals(visitor.heard.at(-1), "next");
  },
);

/** What a client hears that says what the test says, until it is asked for. */
function listen(server: ServerSocket, ...protocols: string[]) {
  const socket = new WebSocket(`${server.url}/a`, ["events.v1", ...protocols]);
  const frames: string[] = [];
  socket.onmessage = ({ data }) => {
    const items = data.startsWith("\u0001[") ? data.slice(2) : data;
    frames.push(...items.split("\u001e"));
  };
  const hears = async (text: string): Promise<string[]> => {
    const isThere = () => frames.some((frame) => frame.includes(text));
    const end = performance.now() + 10_000;
    while (!isThere() && performance.now() < end) await delay(1);
    return frames.splice(0);
  };
  const close = async () => {
    const closed = new Promise((resolve) => socket.onclose = resolve);
    socket.close();
    await closed;
  };
  return { hears, close };
}

Deno.test(
  "history does not accept a position in the future",
  { ignore },
  async () => {
    await using server = await start();
    const first = listen(server, "resume.a");
    const [, epoch = ""] = /"epoch":"(\w+)"/.exec(
      (await first.hears("#")).join(),
    ) ?? [];
    for (const offset of ["1", "9999999999999999"]) {
      const liar = listen(server, `resume.a.${epoch}.${offset}.0`);
      assertMatch((await liar.hears("#")).join(), /"recovered":false/);
      await liar.close();
    }
    await first.close();
  },
);

/** The last token and place that a client was told. */
function placeIn(frames: readonly string[]) {
  const all = frames.join();
  const last = (pattern: RegExp) => [...all.matchAll(pattern)].at(-1)?.[1];
  return {
    token: last(/"token":"([^"]+)"/g) ?? "0",
    epoch: last(/"epoch":"(\w\w+)"/g) ?? "",
    offset: Number(last(/"epoch":"\w\w+","offset":(\d+)/g)),
  };
}

Deno.test(
  "history does not accept a public id as a session",
  { ignore },
  async () => {
    await using server = await start();
    server.on("message", ({ author, content }) => {
      server.to("a").except(author).send(content);
    });
    // A plain client is called by nothing but its public id.
    for (const plain of [false, true]) {
      await using victim = new ClientSocket({ plain });
      const ready = victim.waitFor("message");
      await victim.connect(`${server.url}/a`);
      await ready;
      const [connection] = [...server.clients];
      assert(connection);
      const { id } = connection;
      for (
        const token of [id, `0${id}`, `${"A".repeat(22)}${id}${"0".repeat(14)}`]
      ) {
        const attacker = new WebSocket(`${server.url}/a`, [
          "events.v1",
          `resume.${token}.x.0.0`,
        ]);
        await new Promise((resolve) => attacker.onopen = resolve);
        const heard = victim.waitFor("message");
        attacker.send("for all others");
        const [{ content }] = await deadline(heard, 5_000);
        assertEquals(content, "for all others", `${plain} ${token}`);
        const closed = new Promise((resolve) => attacker.onclose = resolve);
        attacker.close();
        await closed;
      }
      await victim.close();
      while (server.clients.size > 0) await delay(1);
    }
  },
);

Deno.test(
  "history replays nothing from before the token",
  { ignore },
  async () => {
    await using server = await start();
    await using early = await new Visitor(server, "a").enter();
    await early.lose();
    server.to("a").except("nobody").send("before");
    const first = listen(server, "resume.0");
    const own = placeIn(await first.hears('"token"'));
    await first.close();
    server.to("a").send("after");
    server.to("b").send("elsewhere");
    const foreign = await start();
    const other = listen(foreign, "resume.0");
    const strange = placeIn(await other.hears('"token"'));
    await other.close();
    await foreign.close();
    const { token, epoch } = own;
    const changed = token.replace(/.$/, (end) => end === "0" ? "1" : "0");
    for (
      const forged of [
        ...["0", "x", changed, token.slice(0, -1), token.slice(1)],
        ...[`${token}AAAAAAAA`, strange.token, `${token}${token}`],
      ]
    ) {
      const liar = listen(server, `resume.${forged}.${epoch}.0.0`);
      const frames = (await liar.hears('"token"')).join();
      assertMatch(frames, /"recovered":false/, forged);
      assert(!/before|after/.test(frames), forged);
      await liar.close();
    }
    // Its own token, with a place that is too low: only what it may have.
    const back = listen(server, `resume.${token}.${epoch}.0.0`);
    const frames = (await back.hears('"recovered"')).join();
    assertMatch(frames, /after.*"recovered":true/);
    assert(!/before|elsewhere/.test(frames));
    await back.close();
  },
);

Deno.test(
  "history does not replay excluded messages to other sessions or rooms",
  { ignore },
  async () => {
    await using server = await start();
    const author = listen(server, "resume.0");
    const own = placeIn(await author.hears('"token"'));
    const [connection] = [...server.clients];
    assert(connection);
    server.to("a").except(connection).send("secret");
    server.to("a").send("known");
    await author.hears("known");
    // Another session of the same program, and its own one again.
    const second = listen(server, "resume.0");
    const { token } = placeIn(await second.hears('"token"'));
    for (const one of [token, own.token]) {
      const back = listen(server, `resume.${one}.${own.epoch}.0.0`);
      const frames = (await back.hears('"recovered"')).join();
      assert(!frames.includes("secret"), frames);
      await back.close();
    }
    await second.close();
    await author.close();
    // Who was in a room that is left out, and has not joined it again.
    await using visitor = await new Visitor(server, "a/b").enter();
    await visitor.lose();
    server.to("a").except("b").send("not for b");
    server.to("a").send("1");
    visitor.rooms = "a";
    const heard = visitor.client.waitFor("message", {
      filter: ({ content }) => content === "1",
    });
    visitor.release();
    await heard;
    assert(!visitor.heard.includes("not for b"));
  },
);

Deno.test(
  "history replays nothing of a room from before the join",
  { ignore },
  async () => {
    await using server = await start();
    await using stays = await new Visitor(server, "b").enter();
    await using visitor = await new Visitor(server, "a").enter();
    server.to("b").send("before");
    await stays.client.waitFor("message");
    await visitor.lose();
    server.to("b").send("while it was away");
    server.on("connect", (client) => client.join("b"));
    assertEquals(await visitor.comeBack(), ["recovered"]);
  },
);

Deno.test(
  "history replays a room that is joined by a request before recovery",
  { ignore },
  async () => {
    await using server = await start();
    server.handle(({ author, data }) => {
      author.join(String(data));
      return "joined";
    });
    await using visitor = await new Visitor(server, "a").enter();
    await visitor.client.request("late");
    server.to("late").send("0");
    await visitor.client.waitFor("message");
    visitor.heard.length = 0;
    await visitor.lose();
    server.to("late").send("1");
    server.to("a").send("2");
    const back = visitor.client.waitFor("connect")
      .then(() => visitor.client.request("late"));
    assertEquals(await visitor.comeBack(), ["2", "1", "recovered"]);
    await back;
    await visitor.lose();
    server.to("late").send("3");
    // It is cut off once more before it has joined.
    const two = visitor.client.waitFor("message", {
      filter: ({ content }) => content === "4",
    });
    server.to("a").send("4");
    visitor.release();
    await two;
    visitor.heard.length = 0;
    await visitor.lose();
    const again = visitor.client.waitFor("connect")
      .then(() => visitor.client.request("late"));
    assertEquals(await visitor.comeBack(), ["lost"], "it is in doubt");
    await again;
  },
);

Deno.test(
  "Nothing of a room comes to a client that does not know yet that it is there",
  { ignore },
  async () => {
    await using server = await start();
    const client = listen(server, "resume.0");
    await client.hears('"token"');
    const [connection] = [...server.clients];
    connection?.join("b");
    server.to("b").send("hello");
    const frames = await client.hears('"token"');
    // If it is lost in between, it must not go on from where it was.
    assertEquals(frames.slice(0, 2), [
      '\u0001#{"epoch":"0","offset":0}',
      "\u0001@1,hello",
    ]);
    await client.close();
  },
);

Deno.test(
  "history reports more rooms than a token can hold",
  { ignore },
  async () => {
    await using server = await start();
    const rooms = Array.from({ length: 256 }, (_, n) => `${n}`);
    for (
      const [all, back] of [
        [rooms, ["1", "recovered"]],
        [[...rooms, "more"], ["lost"]],
      ] as const
    ) {
      await using visitor = await new Visitor(server, all.join("/")).enter();
      await visitor.lose();
      server.to("7").send("1");
      assertEquals(await visitor.comeBack(), [...back]);
    }
  },
);

Deno.test(
  "What may take the place of something before others has no number",
  { ignore },
  async () => {
    await using server = await start();
    const client = listen(server, "resume.a");
    await client.hears("#");
    const latest = { overflow: "latest", key: "price" } as const;
    server.to("a").send("1", latest);
    server.to("a").send("other");
    server.to("a").send("2", latest);
    const heard = await client.hears('"offset":3');
    const standing = heard.pop() ?? "";
    const key = "\u0001nprice";
    const messages = [key, "\u0001@1,1", "\u0001@2,other", key, "2"];
    assertEquals(heard, messages);
    assertMatch(standing, /"offset":3/);
    await client.close();
  },
);

Deno.test("history does not affect plain clients", {
  ignore,
}, async () => {
  await using server = await start();
  const socket = new WebSocket(`${server.url}/a`);
  const heard: unknown[] = [];
  const done = Promise.withResolvers<void>();
  socket.onmessage = ({ data }) => {
    heard.push(data);
    if (heard.length === 1) server.to("a").send("hello");
    else done.resolve();
  };
  await done.promise;
  assertEquals(heard, ["ready", "hello"]);
  const closed = new Promise((resolve) => socket.onclose = resolve);
  socket.close();
  await closed;
});

Deno.test("history rejects invalid options", () => {
  for (
    const history of [{ messages: 0 }, { maxAge: Infinity }, { maxAge: NaN }]
  ) {
    assertThrows(() => new ServerSocket({ history }), RangeError, "history.");
  }
});

/** A server that keeps messages by a broker, when it can reach that. */
async function join(broker: Broker, options: ServerOptions = {}) {
  const server = new ServerSocket({
    history: true,
    adapter: broker.adapter(),
    ...options,
  });
  server.on("connect", (client, path) => {
    for (const room of path.split("/").slice(1)) client.join(room);
    client.send("ready");
  });
  const up = server.waitFor("adapter", { filter: (state) => state === "up" });
  await server.listen("127.0.0.1", 0);
  await up;
  return server;
}

function testBrokers(name: string, fn: (broker: Broker) => Promise<void>) {
  for (const adapter of ["redis", "nats"]) {
    Deno.test({
      name: `${adapter}: ${name}`,
      ignore: ignoreBrokers || missingBrokers.has(adapter),
      fn: async () => {
        await using broker = await brokers[adapter]?.();
        assert(broker);
        await deadline(fn(broker), 30_000);
      },
    });
  }
}

/** Waits until a client hears what another server sends to its room. */
async function linked(from: ServerSocket, { client }: Visitor, room = "a") {
  const heard = client.waitFor("message", {
    filter: ({ content }) => content === "?",
  });
  const timer = setInterval(() => from.to(room).send("?"), 10);
  await heard;
  clearInterval(timer);
}

/** Waits until a client has heard so many messages, and takes them. */
async function heard(visitor: Visitor, count: number): Promise<string[]> {
  while (visitor.heard.length < count) await visitor.client.waitFor("message");
  return visitor.heard.splice(0);
}

testBrokers("a client may come back to another server", async (broker) => {
  await using one = await join(broker);
  await using two = await join(broker);
  await using stays = await new Visitor(two, "a").enter();
  await using visitor = await new Visitor(one, "a/b").enter();
  await linked(one, stays);
  const { author } = visitor;
  one.to("a").send("0");
  assertEquals(await heard(visitor, 1), ["0"]);
  await visitor.lose();
  one.to("a").send("1");
  await heard(stays, 2);
  two.to("b").send("2");
  one.to("a").except(author).send("not for who sent it");
  two.to("a", "b").send("3");
  one.to("c").send("no");
  two.broadcast("4");
  await heard(stays, 3);
  visitor.server = two;
  assertEquals(await visitor.comeBack(), ["1", "2", "3", "4", "recovered"]);
  one.to("b").send("5");
  assertEquals(await heard(visitor, 1), ["5"]);
  // And back, from where nobody is in its rooms any more.
  await visitor.lose();
  two.to("b").send("6");
  one.to("b").send("7");
  visitor.server = one;
  const back = await visitor.comeBack();
  assertEquals(back.sort(), ["6", "7", "recovered"]);
});

testBrokers(
  "volatile messages reach all servers, and are not stored",
  async (broker) => {
    await using one = await join(broker);
    await using two = await join(broker);
    await using stays = await new Visitor(two, "a").enter();
    await using visitor = await new Visitor(two, "a/b").enter();
    await linked(one, stays);
    visitor.heard.length = stays.heard.length = 0;
    const volatile = { volatile: true };
    one.to("a").send("1", volatile);
    two.to("a").send("2", volatile);
    assertEquals((await heard(stays, 2)).sort(), ["1", "2"]);
    assertEquals((await heard(visitor, 2)).sort(), ["1", "2"]);
    await visitor.lose();
    one.to("a").send("missed for good", volatile);
    one.to("a").send("stored");
    while (!stays.heard.includes("stored")) {
      await stays.client.waitFor("message");
    }
    assertEquals(await visitor.comeBack(), ["stored", "recovered"]);
    // While the broker is down, they are not kept for the other servers.
    const { missed } = one;
    const down = one.waitFor("adapter", {
      filter: (state) => state === "down",
    });
    await broker.kill();
    await down;
    one.to("a").send("dropped", volatile);
    assertEquals(one.missed, missed + 1);
  },
);

testBrokers("a deploy loses nothing", async (broker) => {
  const one = await join(broker);
  await using two = await join(broker);
  await using visitor = await new Visitor(one, "a").enter();
  await linked(two, visitor);
  visitor.server = two;
  const closed = visitor.client.waitFor("close");
  const recovered = visitor.client.waitFor("recovery");
  for (let n = 0; n < 50; n++) {
    one.to("a").send(`one ${n}`);
    two.to("a").send(`two ${n}`);
  }
  const closing = one.shutdown({ retryAfter: 0 });
  for (let n = 50; n < 80; n++) two.to("a").send(`two ${n}`);
  await closed;
  await closing;
  assertEquals(await recovered, [true]);
  two.to("a").send("last");
  while (visitor.heard.at(-1) !== "last") {
    await visitor.client.waitFor("message");
  }
  for (const [from, count] of [["one", 50], ["two", 80]] as const) {
    assertEquals(
      visitor.heard.filter((text) => text.startsWith(from)),
      Array.from({ length: count }, (_, n) => `${from} ${n}`),
    );
  }
});

testBrokers(
  "a broker that has forgotten everything is told",
  async (broker) => {
    await using one = await join(broker);
    await using visitor = await new Visitor(one, "a").enter();
    await using stays = await new Visitor(one, "a/stays").enter();
    await visitor.lose();
    one.to("a").send("1");
    assertEquals(await heard(stays, 1), ["1"]);
    const down = one.waitFor("adapter");
    await broker.kill();
    await down;
    await broker.forget();
    const told = stays.client.waitFor("recovery");
    await broker.start();
    assertEquals(await told, [false], "it may have missed something");
    assertEquals(await visitor.comeBack(), ["lost"]);
    await visitor.positioned();
    await visitor.lose();
    one.to("a").send("2");
    assertEquals(await visitor.comeBack(), ["2", "recovered"]);
  },
);

testBrokers(
  "while the broker is away clients of one server hear each other, and all hear the rest later",
  async (broker) => {
    await using one = await join(broker, { adapterQueue: 100 });
    await using two = await join(broker, { adapterQueue: 100 });
    await using here = await new Visitor(one, "a/here").enter();
    await using there = await new Visitor(two, "a").enter();
    await linked(one, there);
    await linked(two, here);
    await using visitor = await new Visitor(one, "a").enter();
    const downs = [one, two].map((server) => server.waitFor("adapter"));
    for (let n = 0; n < 10; n++) one.to("a").send(`one ${n}`);
    await broker.kill();
    await Promise.all(downs);
    for (let n = 10; n < 20; n++) one.to("a").send(`one ${n}`);
    for (let n = 0; n < 5; n++) two.to("a").send(`two ${n}`);
    const ones = Array.from({ length: 20 }, (_, n) => `one ${n}`);
    const twos = Array.from({ length: 5 }, (_, n) => `two ${n}`);
    const own = await heard(here, 20);
    assertEquals(own.filter((text) => text.startsWith("one")), ones);
    // Nobody knows where those stand that are not kept yet.
    await heard(visitor, 20);
    await visitor.lose();
    assertEquals(await visitor.comeBack(), ["lost"]);
    const ups = [one, two].map((server) => server.waitFor("adapter"));
    await broker.start();
    await Promise.all(ups);
    const all = [...await heard(there, 25)];
    assertEquals(all.filter((text) => text.startsWith("one")), ones);
    assertEquals(all.filter((text) => text.startsWith("two")), twos);
    assertEquals([...own, ...await heard(here, 5)].slice(20), twos);
    assertEquals([one.missed, two.missed], [0, 0]);
    one.to("a").send("last");
    for (const one of [here, there]) {
      assertEquals(await heard(one, 1), ["last"]);
    }
  },
);

testBrokers(
  "a broker that takes its time holds no client of the same server up",
  async (broker) => {
    await using one = await join(broker);
    await using two = await join(broker);
    await using here = await new Visitor(one, "a/here").enter();
    await using there = await new Visitor(two, "a").enter();
    await linked(one, there);
    await linked(two, here);
    broker.pause(true);
    for (let n = 0; n < 5; n++) one.to("a").send(`${n}`);
    const all = ["0", "1", "2", "3", "4"];
    assertEquals(await heard(here, 5), all);
    one.to("a").send("5");
    assertEquals(await heard(here, 1), ["5"]);
    broker.pause(false);
    assertEquals(await heard(there, 6), [...all, "5"]);
    one.to("a").send("6");
    assertEquals(await heard(here, 1), ["6"], "and none of them twice");
  },
);

testBrokers(
  "as much is kept as the server wants that wants most",
  async (broker) => {
    await using one = await join(broker, { history: { messages: 50 } });
    await using two = await join(broker, {
      history: { messages: 2, maxAge: 10_000 },
    });
    await using stays = await new Visitor(one, "a").enter();
    await using visitor = await new Visitor(one, "a/b").enter();
    await linked(two, stays);
    await visitor.lose();
    const all = Array.from({ length: 20 }, (_, n) => `${n}`);
    for (const text of all) two.to("a").send(text);
    await heard(stays, 20);
    assertEquals(await visitor.comeBack(), [...all, "recovered"]);
  },
);

/** Says something to a broker in its own words, and waits until it has done that. */
async function command(address: string, words: string): Promise<void> {
  const [port] = address.split(":").reverse();
  const tcp = await Deno.connect({ hostname: "127.0.0.1", port: Number(port) });
  await tcp.write(new TextEncoder().encode(words));
  const answer = tcp.readable.pipeThrough(new TextDecoderStream());
  for await (const text of answer) if (/\+OK|PONG/.test(text)) break;
}

testBrokers(
  "what is lost while the broker runs is told, and it goes on",
  async (broker) => {
    await using one = await join(broker);
    await using visitor = await new Visitor(one, "a").enter();
    await using stays = await new Visitor(one, "a/stays").enter();
    await visitor.lose();
    const told = stays.client.waitFor("recovery");
    await command(
      broker.address,
      broker.address.startsWith("redis")
        ? "FLUSHALL\r\n"
        : "CONNECT {}\r\nPUB $JS.API.STREAM.DELETE.ws-events 0\r\n\r\nPING\r\n",
    );
    one.to("a").send("1");
    assertEquals(await told, [false]);
    assertEquals(await visitor.comeBack(), ["lost"]);
    await visitor.positioned();
    await visitor.lose();
    one.to("a").send("2");
    assertEquals(await visitor.comeBack(), ["2", "recovered"]);
  },
);

testBrokers(
  "who is always left out has missed nothing of it",
  async (broker) => {
    await using one = await join(broker, { history: { messages: 5 } });
    await using stays = await new Visitor(one, "a").enter();
    await using visitor = await new Visitor(one, "a/b").enter();
    for (let n = 0; n < 9; n++) {
      one.to("a").except(visitor.author).send(`not for the author ${n}`);
      one.to("a").except("b").send(`not for b ${n}`);
    }
    await heard(stays, 18);
    await visitor.settle(); // its position has arrived
    await visitor.lose();
    one.to("a").send("1");
    await heard(stays, 1);
    assertEquals(await visitor.comeBack(), ["1", "recovered"]);
  },
);

testBrokers(
  "a client gets nothing from before its time on any server, whatever it presents",
  async (broker) => {
    await using one = await join(broker);
    await using two = await join(broker);
    await using stays = await new Visitor(one, "a").enter();
    // The other server has nobody in the room, and hears nothing of it.
    for (let n = 0; n < 5; n++) one.to("a").send("before");
    await heard(stays, 5);
    const first = listen(two, "resume.0");
    const { token, epoch } = placeIn(await first.hears('"token"'));
    await first.close();
    one.to("a").send("after");
    await heard(stays, 1);
    for (const server of [one, two]) {
      const back = listen(server, `resume.${token}.${epoch}.0.0`);
      const frames = (await back.hears('"recovered"')).join();
      assertMatch(frames, /after.*"recovered":true/);
      assert(!frames.includes("before"), frames);
      await back.close();
    }
  },
);
