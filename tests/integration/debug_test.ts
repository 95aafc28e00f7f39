/** What `debug()` writes. */

import { assertEquals, assertThrows } from "@std/assert";
import { ClientSocket, ServerSocket } from "../../mod.ts";
import { debug } from "../../debug.ts";
import { lacksPermission } from "../support/permissions.ts";

const ignore = await lacksPermission("net");

/** The lines of a log without their times and ports. */
function plainLines(lines: readonly string[]): string[] {
  return lines.map((line) =>
    line.replace(/^\d\d:\d\d:\d\d\.\d{3} /, "").replace(/127[.\d]+:\d+/g, "…")
  );
}

Deno.test({
  name: "debug() logs a connection, its frames and its end on both sides",
  ignore,
  async fn() {
    const ofServer: string[] = [];
    const ofClient: string[] = [];
    const server = new ServerSocket();
    server.handle("sum", () => 6);
    using _server = debug(server, { write: (line) => ofServer.push(line) });
    await server.listen("127.0.0.1", 0);
    const client = new ClientSocket();
    using _client = debug(client, { write: (line) => ofClient.push(line) });
    await client.connect(`${server.url}/live?token=secret`);
    const received = server.waitFor("message");
    await client.send("hello");
    await received;
    assertEquals(await client.request({ type: "sum" }), 6);
    const ended = server.waitFor("end");
    await client.close(4001, "bye");
    await ended;
    await server.close();
    assertEquals(plainLines(ofServer), [
      "server 1 accepted /live from …",
      "server 1 open (events.v1)",
      'server 1 <- message "hello"',
      'server 1 <- request 1 "{"type":"sum"}"',
      'server 1 -> reply 1 "6"',
      'server 1 close 4001 "bye" (peer)',
    ]);
    assertEquals(plainLines(ofClient), [
      "client 1 connecting to ws://…/live?…",
      "client 1 open (events.v1)",
      'client 1 -> message "hello"',
      'client 1 -> request 1 "{"type":"sum"}"',
      'client 1 <- reply 1 "6"',
      'client 1 -> close 4001 "bye"',
      'client 1 close 4001 "bye" (local)',
    ]);
  },
});

Deno.test({
  name: "debug() logs refused requests and plain peers, on one line each",
  ignore,
  async fn() {
    const lines: string[] = [];
    const server = new ServerSocket({ paths: ["/live"] });
    using _log = debug(server, { write: (line) => lines.push(line) });
    await server.listen("127.0.0.1", 0);
    const url = server.url.replace("ws", "http");
    await (await fetch(`${url}/other?token=secret`)).body?.cancel();
    const peer = new WebSocket(`${server.url}/live`);
    const received = server.waitFor("message");
    peer.onopen = () => peer.send("a\n\u001b[2J");
    await received;
    const closed = new Promise((resolve) => peer.onclose = resolve);
    await server.close(1001, "bye");
    await closed;
    const [refused = "", ...rest] = plainLines(lines);
    assertEquals(
      refused.replace(/: 426 .*/, ": 426"),
      "server refused GET http://…/other?… from …: 426",
    );
    assertEquals(rest, [
      "server 1 accepted /live from …",
      "server 1 open (plain)",
      'server 1 <- message "a\\n\\u001b[2J"',
      'server 1 -> close 1001 "bye"',
      'server 1 close 1001 "bye" (shutdown)',
    ]);
  },
});

Deno.test({
  name: "debug() logs attempts to reconnect, and why they fail",
  ignore,
  async fn() {
    const lines: string[] = [];
    const client = new ClientSocket({
      reconnect: { initialDelay: 1, maxAttempts: 1 },
    });
    using _log = debug(client, { write: (line) => lines.push(line) });
    const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    const { port } = listener.addr;
    listener.close();
    const gaveUp = client.waitFor("giveup");
    client.connect(`ws://127.0.0.1:${port}`).catch(() => {});
    await gaveUp;
    const words = plainLines(lines).map((line) =>
      line.replace(/in [\d.]+ s/, "in a moment").slice(0, 40)
    );
    assertEquals(words, [
      "client 1 connecting to ws://…/",
      "client reconnecting in a moment, attempt",
      "client 2 connecting to ws://…/",
      "client gave up (attempts): ConnectError:",
    ]);
  },
});

Deno.test({
  name: "debug() stops when it is disposed of",
  ignore,
  async fn() {
    const lines: string[] = [];
    const server = new ServerSocket();
    const log = debug(server, { write: (line) => lines.push(line) });
    await server.listen("127.0.0.1", 0);
    const client = new ClientSocket();
    const connected = server.waitFor("connect");
    await client.connect(server.url);
    await connected;
    const { length } = lines;
    log[Symbol.dispose]();
    log[Symbol.dispose]();
    const received = server.waitFor("message");
    await client.send("unseen");
    await received;
    await client.close();
    await server.close();
    assertEquals(lines.length, length);
  },
});

Deno.test({
  name: "debug() says if connections that are open already are not logged",
  ignore,
  async fn() {
    const lines: string[] = [];
    await using server = new ServerSocket();
    await server.listen("127.0.0.1", 0);
    await using client = new ClientSocket();
    const connected = server.waitFor("connect");
    await client.connect(server.url);
    await connected;
    using _log = debug(server, { write: (line) => lines.push(line) });
    assertEquals(plainLines(lines), [
      "server 1 open connections are not logged: call debug() before they open",
    ]);
  },
});

Deno.test("debug() refuses what it cannot debug", () => {
  const server = new ServerSocket();
  using _log = debug(server, { write: () => {} });
  assertThrows(
    () => debug(server),
    TypeError,
    "Cannot debug a socket twice: dispose of the first log before",
  );
  const client = new ClientSocket();
  const options = JSON.parse('{"wrte":1}');
  assertThrows(() => debug(client, options), TypeError, 'did you mean "write"');
  assertThrows(
    () => debug(client, { maxChars: 0 }),
    RangeError,
    "Cannot show 0 characters of a message",
  );
  assertThrows(
    () => debug(client, JSON.parse('{"write":1}')),
    TypeError,
    "write",
  );
  assertThrows(
    () => debug(JSON.parse("{}")),
    TypeError,
    "neither a ServerSocket nor a ClientSocket",
  );
});
