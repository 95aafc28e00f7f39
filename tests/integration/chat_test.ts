/** The chat of the examples: what it accepts, and its server as a process of its own. */

import {
  assert,
  assertEquals,
  assertMatch,
  assertRejects,
  assertStrictEquals,
  assertStringIncludes,
} from "@std/assert";
import { type Channel, channel } from "@ws/events/channels";
import { ClientSocket, RequestError } from "@ws/events/client";
import type { ClientTypes } from "@ws/events/contract";
import {
  CHANNEL,
  type Chat,
  isId,
  isSaid,
  MAX_NAME,
  MAX_TEXT,
  parseName,
  parseText,
  type Said,
} from "../../examples/chat/protocol.ts";
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

Deno.test("chat: isId() and isSaid() accept what they are named for only", () => {
  for (const id of [ID, idOf(0)]) assert(isId(id));
  for (const id of [`${ID}0`, `${ID}\n`, ID.toUpperCase(), "", 1, null]) {
    assert(!isId(id));
  }
  assert(isSaid({ id: ID, name: "Ada", text: "hi", at: 1 }));
  for (const data of [undefined, null, "said", 1, {}, []]) {
    assert(!isSaid(data));
  }
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

/** The types of the channel, as a client sees it. */
type Room = Channel<ClientTypes<Chat> & { snapshot: Said[] }>;

/** Somebody in the chat, and what they have heard. */
class Guest implements AsyncDisposable {
  readonly #client = new ClientSocket<ClientTypes<Chat>>();
  readonly room: Room = channel(this.#client, CHANNEL);
  readonly heard: string[] = [];

  constructor() {
    this.room.on("open", (history) => {
      for (const said of history) this.#hear(said);
    });
    this.room.on("message:said", ({ data }) => this.#hear(data));
  }

  /** Somebody who has joined the channel. */
  static async enter(url: string, name: string): Promise<Guest> {
    const guest = new Guest();
    const query = new URLSearchParams({ name });
    await guest.#client.connect(`${url.replace("http", "ws")}chat?${query}`);
    try {
      await guest.room.joined;
    } catch (error) {
      await guest.#client.close();
      throw error;
    }
    return guest;
  }

  say(id: string, text: string): Promise<Said> {
    return this.#client.request({ type: "say", id, text }, { retry: true });
  }

  /** Waits until so many messages were heard. */
  async hears(count: number): Promise<string[]> {
    while (this.heard.length < count) await this.room.waitFor("message");
    return this.heard;
  }

  /** Waits until these people are in the channel. */
  async sees(...names: string[]): Promise<void> {
    const text = names.toSorted().join();
    const seen = () => this.room.members.map(({ data }) => data).toSorted();
    while (seen().join() !== text) {
      const change = new AbortController();
      const { signal } = change;
      await Promise.race([
        this.room.waitFor("join", { signal }),
        this.room.waitFor("leave", { signal }),
      ]).finally(() => change.abort());
    }
  }

  #hear({ name, text }: Said): void {
    this.heard.push(`${name}: ${text}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#client.close();
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
  await ada.sees("Ada", "Grace");
  await ada.say(idOf(1), " Hello ");
  await grace.say(idOf(2), "Hi");
  const said = ["Ada: Hello", "Grace: Hi"];
  assertEquals(await ada.hears(2), said);
  assertEquals(await grace.hears(2), said);
  {
    await using third = await Guest.enter(url, "Linus");
    assertEquals(third.heard, said);
    await ada.sees("Ada", "Grace", "Linus");
  }
  await ada.sees("Ada", "Grace");
});

test("newcomers hear the last fifty messages", async (url) => {
  await using ada = await Guest.enter(url, "Ada");
  for (let i = 1; i <= 60; i++) await ada.say(idOf(i), `${i}`);
  await using grace = await Guest.enter(url, "Grace");
  assertEquals([grace.heard.length, grace.heard[0]], [50, "Ada: 11"]);
});

test("an id is broadcast once, and who sends it again is told so", async (url) => {
  await using ada = await Guest.enter(url, "Ada");
  await using grace = await Guest.enter(url, "Grace");
  const [first, again] = await Promise.all([
    ada.say(idOf(1), "once"),
    ada.say(idOf(1), "once"),
    ada.say(idOf(2), "done"),
  ]);
  assertEquals([again.id, again.at], [first.id, first.at]);
  assertEquals(await ada.hears(2), ["Ada: once", "Ada: done"]);
  assertEquals(await grace.hears(2), ["Ada: once", "Ada: done"]);
});

test("the longest text fits into what the server takes", async (url) => {
  await using ada = await Guest.enter(url, "Ada");
  for (const [i, char] of ["李", "\n", '"', "\\", "é"].entries()) {
    const text = `a${char.repeat(MAX_TEXT - 2)}a`;
    assertStrictEquals((await ada.say(idOf(i), text)).text, text);
  }
});

test("who breaks the rules is refused or sent away, and nobody hears of it", async (url) => {
  await using witness = await Guest.enter(url, "Witness");
  await using eve = await Guest.enter(url, "Eve");
  for (
    const [id, text] of [["1", "hi"], [ID, ""], [ID, "a\0b"]] as const
  ) {
    const { code } = await assertRejects(() => eve.say(id, text), RequestError);
    assertStrictEquals(code, "invalid");
  }
  for (const name of ["", " ", "a\nb", "a".repeat(MAX_NAME + 1)]) {
    const { code } = await assertRejects(
      () => Guest.enter(url, name),
      RequestError,
    );
    assertStrictEquals(code, "forbidden");
  }
  const plain = new WebSocket(`${url.replace("http", "ws")}chat?name=Mallory`);
  plain.onopen = () => plain.send(JSON.stringify({ id: ID, text: "hi" }));
  const { code, reason } = await new Promise<CloseEvent>((resolve) => {
    plain.onclose = resolve;
  });
  assertEquals([code, reason], [1008, "Send a request"]);
  await witness.say(idOf(9), "All quiet");
  assertEquals(await witness.hears(1), ["Witness: All quiet"]);
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
