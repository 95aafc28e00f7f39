/**
 * The chat of the examples: what its two sides say to each other, what becomes of
 * messages, and its server as a process of its own.
 */

import {
  assert,
  assertEquals,
  assertMatch,
  assertStrictEquals,
  assertStringIncludes,
} from "@std/assert";
import {
  Deliveries,
  type Delivery,
} from "../../examples/chat/page/deliveries.ts";
import {
  type FromPage,
  type FromServer,
  MAX_NAME,
  MAX_TEXT,
  parseFromPage,
  parseFromServer,
  parseName,
  parseText,
} from "../../examples/chat/protocol.ts";
import { Room } from "../../examples/chat/room.ts";
import { startChat } from "../support/chat.ts";
import { lacksPermission } from "../support/permissions.ts";
import { HANDSHAKE, RawPeer, request } from "../support/raw_peer.ts";

const ID = "0123456789abcdef0123456789abcdef";

/** An id that ends with a number. */
function idOf(number: number): string {
  return number.toString(16).padStart(32, "0");
}

Deno.test("chat: parseName() trims, and refuses what is no name", () => {
  for (const name of ["Ada", "Zoë", "李梅", "O'Neil-3", "🙂"]) {
    assertStrictEquals(parseName(` ${name}\t`), name);
  }
  assertStrictEquals(parseName("a".repeat(MAX_NAME))?.length, MAX_NAME);
  const wrong = [
    "",
    "  ",
    "a\nb",
    "a\0b",
    "a\u202eb",
    "a\u2028b",
    "\u200d",
    "\ud800",
    "a".repeat(MAX_NAME + 1),
    7,
    null,
    undefined,
    ["Ada"],
  ];
  for (const name of wrong) assertStrictEquals(parseName(name), undefined);
});

Deno.test("chat: parseText() trims, and refuses what is no text", () => {
  assertStrictEquals(parseText(" a\n\tb \n"), "a\n\tb");
  assertStrictEquals(parseText("a".repeat(MAX_TEXT))?.length, MAX_TEXT);
  const wrong = [
    "",
    " \n",
    "a\0b",
    "a\u007fb",
    "a\r\nb",
    "\udc00",
    "a".repeat(MAX_TEXT + 1),
    7,
    null,
    undefined,
    { length: 1 },
  ];
  for (const text of wrong) assertStrictEquals(parseText(text), undefined);
});

Deno.test("chat: parseFromPage() takes well-formed messages only, and no more of them than it knows", () => {
  assertEquals(parseFromPage({ kind: "hello", name: " Ada ", age: 36 }), {
    kind: "hello",
    name: "Ada",
  });
  assertEquals(parseFromPage({ kind: "say", id: ID, text: " hi ", at: 1 }), {
    kind: "say",
    id: ID,
    text: "hi",
  });
  const wrong = [
    undefined,
    null,
    "hello",
    1,
    [],
    {},
    { kind: "shout", id: ID, text: "hi" },
    { kind: "hello" },
    { kind: "hello", name: "" },
    { kind: "say", text: "hi" },
    { kind: "say", id: ID },
    { kind: "say", id: 1, text: "hi" },
    { kind: "say", id: ID.toUpperCase(), text: "hi" },
    { kind: "say", id: `${ID}0`, text: "hi" },
    { kind: "say", id: `${ID}\n`, text: "hi" },
  ];
  for (const data of wrong) assertStrictEquals(parseFromPage(data), undefined);
});

Deno.test("chat: parseFromServer() takes well-formed messages only", () => {
  const said = { id: ID, name: "Ada", text: "hi", at: 1 };
  const right: FromServer[] = [
    { kind: "welcome", history: [] },
    { kind: "welcome", history: [said, said] },
    { kind: "people", names: ["Ada", "Ada"] },
    { kind: "said", said },
    { kind: "known", id: ID },
    { kind: "alive" },
  ];
  for (const data of right) assertEquals(parseFromServer(data), data);
  const wrong = [
    undefined,
    "said",
    { kind: "news" },
    { kind: "welcome" },
    { kind: "welcome", history: [said, { ...said, at: "1" }] },
    { kind: "people", names: "Ada" },
    { kind: "people", names: [""] },
    { kind: "said", ...said },
    { kind: "said", said: null },
    { kind: "said", said: { ...said, at: NaN } },
    { kind: "said", said: { ...said, at: 1e16 } },
    { kind: "said", said: { ...said, name: "" } },
    { kind: "said", said: { ...said, text: "" } },
    { kind: "known", id: "x" },
  ];
  for (const data of wrong) {
    assertStrictEquals(parseFromServer(data), undefined);
  }
});

Deno.test("chat: the longest text that parses fits into what the server takes", () => {
  for (const char of ["李", "\n", '"', "\\", "é"]) {
    const text = `a${char.repeat(MAX_TEXT - 2)}a`;
    const say: FromPage = { kind: "say", id: ID, text };
    assertEquals(parseFromPage(say), say);
    const { length } = new TextEncoder().encode(JSON.stringify(say));
    assert(length <= 4 * 1024, `${length} bytes`);
  }
});

Deno.test("chat: Room.take() takes an id once, and keeps fifty messages", () => {
  const room = new Room<string>();
  for (let i = 0; i < 60; i++) {
    const said = { id: idOf(i), name: "Ada", text: `${i}`, at: i };
    assertEquals(room.take({ kind: "say", ...said }, "Ada", i), said);
  }
  assertStrictEquals(room.history.length, 50);
  assertStrictEquals(room.history[0]?.text, "10");
  const again = { kind: "say", id: idOf(3), text: "again" } as const;
  assertStrictEquals(room.take(again, "Ada", 99), undefined);
  assertStrictEquals(room.history.at(-1)?.text, "59");
  // Ids are not remembered for ever.
  for (let i = 60; i < 10_004; i++) {
    room.take({ kind: "say", id: idOf(i), text: "x" }, "Ada", i);
  }
  assertStrictEquals(room.take(again, "Ada", 99)?.text, "again");
});

Deno.test("chat: Room knows who is there", () => {
  const room = new Room<number>();
  room.enter(1, "grace");
  room.enter(2, "Ada");
  room.enter(3, "Ada");
  assertEquals(room.names, ["Ada", "Ada", "grace"]);
  assertStrictEquals(room.nameOf(1), "grace");
  assertEquals([room.leave(2), room.leave(2)], [true, false]);
  assertEquals(room.names, ["Ada", "grace"]);
});

/** Deliveries, and what they have told. */
function watched(): { deliveries: Deliveries; told: Map<string, Delivery[]> } {
  const told = new Map<string, Delivery[]>();
  const deliveries = new Deliveries((id, delivery) => {
    told.set(id, [...told.get(id) ?? [], delivery]);
  });
  return { deliveries, told };
}

Deno.test("chat: Deliveries tells that a message is sent when its echo has come", () => {
  const { deliveries, told } = watched();
  deliveries.connect();
  deliveries.welcome();
  deliveries.begin("a");
  deliveries.handOver("a");
  assert(deliveries.confirm("a"));
  assert(!deliveries.confirm("a"));
  assert(!deliveries.confirm("of another"));
  deliveries.lose();
  deliveries.connect();
  deliveries.welcome();
  assertEquals(told.get("a"), ["sending", "sent"]);
});

Deno.test("chat: Deliveries tells that a message waits, and that it is sent later", () => {
  const { deliveries, told } = watched();
  deliveries.begin("a");
  deliveries.connect();
  deliveries.handOver("a");
  deliveries.begin("b");
  deliveries.lose();
  deliveries.connect();
  deliveries.handOver("b");
  deliveries.confirm("a");
  deliveries.welcome();
  deliveries.confirm("b");
  assertEquals(told.get("a"), ["waiting", "sending", "sent"]);
  assertEquals(told.get("b"), ["sending", "waiting", "sending", "sent"]);
});

Deno.test("chat: Deliveries counts what is on its way", () => {
  const { deliveries } = watched();
  const counts = [deliveries.open];
  const count = () => counts.push(deliveries.open);
  for (const id of ["a", "b", "c"]) deliveries.begin(id);
  count();
  deliveries.connect();
  for (const id of ["a", "b"]) deliveries.handOver(id);
  count();
  deliveries.confirm("a");
  count();
  deliveries.fail("c");
  count();
  deliveries.end();
  count();
  deliveries.begin("b");
  count();
  assertEquals(counts, [0, 3, 3, 2, 1, 0, 1]);
});

Deno.test("chat: Deliveries doubts what an earlier connection took and nobody has echoed", () => {
  const { deliveries, told } = watched();
  deliveries.connect();
  deliveries.begin("a");
  deliveries.handOver("a");
  deliveries.lose();
  deliveries.begin("b");
  deliveries.connect();
  deliveries.handOver("b");
  deliveries.welcome();
  assertEquals(told.get("a"), ["sending", "doubtful"]);
  assertEquals(told.get("b"), ["waiting", "sending"]);
  deliveries.begin("a");
  deliveries.handOver("a");
  deliveries.welcome();
  deliveries.confirm("a");
  assertEquals(told.get("a"), ["sending", "doubtful", "sending", "sent"]);
});

Deno.test("chat: Deliveries tells what is lost and what was not sent when all is over", () => {
  const { deliveries, told } = watched();
  deliveries.connect();
  for (const id of ["a", "b"]) deliveries.begin(id);
  deliveries.handOver("a");
  deliveries.lose();
  deliveries.begin("c");
  deliveries.end();
  deliveries.handOver("b");
  deliveries.fail("c");
  assertEquals(told.get("a"), ["sending", "doubtful"]);
  assertEquals(told.get("b"), ["sending", "waiting", "doubtful"]);
  assertEquals(told.get("c"), ["waiting", "failed"]);
  deliveries.retry();
  deliveries.begin("c");
  deliveries.connect();
  deliveries.handOver("c");
  deliveries.confirm("c");
  assertEquals(told.get("c")?.slice(2), ["waiting", "sending", "sent"]);
});

const ignore = await lacksPermission("net", "run", "read");

function test(name: string, fn: (url: string) => Promise<void>): void {
  Deno.test({
    name: `chat: ${name}`,
    ignore,
    async fn() {
      const { server, url } = await startChat();
      await using _ = server;
      assertMatch(url, /^http:\/\/127\.0\.0\.1:\d+\/$/);
      await fn(url);
      if (Deno.build.os === "windows") return;
      server.kill("SIGTERM");
      assertStrictEquals(await server.exit(), 0);
    },
  });
}

/** The status that a handshake with an origin gets. */
async function statusOf(
  url: string,
  path: string,
  origin: string,
): Promise<number> {
  const { host, port } = new URL(url);
  using peer = await RawPeer.connect(Number(port));
  const headers = { ...HANDSHAKE, Host: host, Origin: origin };
  await peer.write(request(headers, `GET /${path} HTTP/1.1`));
  return Number((await peer.head()).split(" ")[1]);
}

/** A plain WebSocket, and what has come by it. */
class Guest implements AsyncDisposable {
  readonly #socket: WebSocket;
  readonly #messages: ReadableStreamDefaultReader<unknown>;
  readonly closed: Promise<CloseEvent>;

  constructor(url: string) {
    this.#socket = new WebSocket(`${url}chat`);
    const { promise, resolve } = Promise.withResolvers<CloseEvent>();
    this.closed = promise;
    this.#messages = new ReadableStream<unknown>({
      start: (controller) => {
        this.#socket.onmessage = ({ data }) => {
          controller.enqueue(JSON.parse(data));
        };
        this.#socket.onclose = (event) => {
          controller.close();
          resolve(event);
        };
      },
    }).getReader();
  }

  /** One who has come in, been welcomed, and heard who is there. */
  static async enter(url: string, name: string): Promise<Guest> {
    const guest = new Guest(url);
    await guest.send({ kind: "hello", name });
    assertMatch(JSON.stringify(await guest.next()), /^{"kind":"welcome"/);
    assertMatch(JSON.stringify(await guest.next()), /^{"kind":"people"/);
    return guest;
  }

  async send(data: unknown): Promise<void> {
    const socket = this.#socket;
    if (socket.readyState === WebSocket.CONNECTING) {
      await new Promise((resolve) => {
        socket.addEventListener("open", resolve, { once: true });
      });
    }
    socket.send(JSON.stringify(data));
  }

  async next(): Promise<unknown> {
    return (await this.#messages.read()).value;
  }

  /** Waits for the next message that says something, and gives what and who. */
  async hears(): Promise<string> {
    const message = parseFromServer(await this.next());
    assert(message?.kind === "said", `It is ${JSON.stringify(message)}`);
    return `${message.said.name}: ${message.said.text}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#socket.close();
    await this.closed;
  }
}

test("the server hands out its page, with a strict policy", async (url) => {
  const types = new Map([
    ["", "text/html; charset=utf-8"],
    ["style.css", "text/css; charset=utf-8"],
    ["page.js", "text/javascript; charset=utf-8"],
  ]);
  for (const [path, type] of types) {
    const { status, headers, body } = await fetch(url + path);
    await body?.cancel();
    assertStrictEquals(status, 200);
    assertStrictEquals(headers.get("content-type"), type);
    assertStrictEquals(headers.get("x-content-type-options"), "nosniff");
    assertStrictEquals(headers.get("referrer-policy"), "no-referrer");
    assertStrictEquals(
      headers.get("content-security-policy"),
      "default-src 'none'; script-src 'self'; style-src 'self'; " +
        "connect-src 'self'; img-src 'self' data:; base-uri 'none'; " +
        "form-action 'none'; frame-ancestors 'none'",
    );
  }
  const page = await (await fetch(url)).text();
  // The policy would block them.
  assert(!/ style=| on\w+=|<style|<script>/.test(page));
  const script = await (await fetch(`${url}page.js`)).text();
  assertStringIncludes(script, "Reconnecting, attempt");
});

test("the server has no other pages, and takes nothing at them", async (url) => {
  for (const path of ["page.ts", "server.ts", "chat", "../deno.json"]) {
    const { status, headers, body } = await fetch(url + path);
    await body?.cancel();
    // A path of sockets is one for other requests, too.
    assertStrictEquals(status, 404);
    assert(headers.get("content-security-policy"));
  }
  const { status, headers, body } = await fetch(url, { method: "POST" });
  await body?.cancel();
  assertEquals([status, headers.get("allow")], [405, "GET, HEAD"]);
  const head = await fetch(url, { method: "HEAD" });
  assertEquals([head.status, await head.text()], [200, ""]);
});

test("two talk, and a third one hears what was said", async (url) => {
  await using ada = await Guest.enter(url, " Ada ");
  await using grace = await Guest.enter(url, "Grace");
  assertEquals(await ada.next(), { kind: "people", names: ["Ada", "Grace"] });
  await ada.send({ kind: "say", id: idOf(1), text: " Hello " });
  assertStrictEquals(await ada.hears(), "Ada: Hello");
  assertStrictEquals(await grace.hears(), "Ada: Hello");
  await grace.send({ kind: "say", id: idOf(2), text: "Hi" });
  assertStrictEquals(await ada.hears(), "Grace: Hi");
  assertStrictEquals(await grace.hears(), "Grace: Hi");
  {
    await using third = new Guest(url);
    await third.send({ kind: "hello", name: "Linus" });
    const welcome = parseFromServer(await third.next());
    assert(welcome?.kind === "welcome");
    assertEquals(
      welcome.history.map(({ id, name, text }) => [id, name, text]),
      [[idOf(1), "Ada", "Hello"], [idOf(2), "Grace", "Hi"]],
    );
  }
  const both = ["Ada", "Grace"];
  assertEquals(await ada.next(), { kind: "people", names: [...both, "Linus"] });
  assertEquals(await ada.next(), { kind: "people", names: both });
});

test("the server says that it is there, though nobody says anything", async (url) => {
  await using guest = await Guest.enter(url, "Ada");
  assertEquals(await guest.next(), { kind: "alive" });
});

test("an id is broadcast once, and who sends it again is told so", async (url) => {
  await using ada = await Guest.enter(url, "Ada");
  await using grace = await Guest.enter(url, "Grace");
  await ada.next(); // that Grace is there
  await ada.send({ kind: "say", id: idOf(1), text: "once" });
  await ada.send({ kind: "say", id: idOf(1), text: "once" });
  await ada.send({ kind: "say", id: idOf(2), text: "done" });
  assertStrictEquals(await ada.hears(), "Ada: once");
  assertEquals(await ada.next(), { kind: "known", id: idOf(1) });
  assertStrictEquals(await ada.hears(), "Ada: done");
  assertStrictEquals(await grace.hears(), "Ada: once");
  assertStrictEquals(await grace.hears(), "Ada: done");
});

test("who breaks the rules is sent away, and nobody hears of it", async (url) => {
  await using witness = await Guest.enter(url, "Witness");
  const hello = { kind: "hello", name: "Eve" };
  const cases: [string, ...unknown[]][] = [
    ["Malformed message", "hello"],
    ["Malformed message", { kind: "hello", name: "a\nb" }],
    ["Say hello first", { kind: "say", id: ID, text: "hi" }],
    ["Malformed message", hello, { kind: "say", id: "1", text: "hi" }],
    ["Malformed message", hello, { kind: "say", id: ID, text: "" }],
    ["Say hello only once", hello, hello],
  ];
  for (const [why, ...messages] of cases) {
    const guest = new Guest(url);
    for (const message of messages) await guest.send(message);
    const { code, reason } = await guest.closed;
    assertEquals([code, reason], [1008, why]);
  }
  await witness.send({ kind: "say", id: idOf(9), text: "All quiet" });
  for (;;) {
    const message = parseFromServer(await witness.next());
    if (message?.kind === "people") continue;
    assert(message?.kind === "said");
    assertStrictEquals(message.said.text, "All quiet");
    break;
  }
});

test("a page from elsewhere cannot connect, nor can one at another path", async (url) => {
  const statuses: number[] = [];
  for (
    const [path, origin] of [
      ["chat", "https://evil.example"],
      ["chat", "null"],
      ["", url.slice(0, -1)],
    ] as const
  ) {
    statuses.push(await statusOf(url, path, origin));
  }
  assertEquals(statuses, [403, 403, 404]);
  assertStrictEquals(await statusOf(url, "chat", url.slice(0, -1)), 101);
});
