/** How long a server keeps what comes with a request: its headers, its URL. */

import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import {
  ClientSocket,
  type Connection,
  type ServerOptions,
  ServerSocket,
} from "@ws/events";
import { lacksPermission } from "../support/permissions.ts";

const ignore = await lacksPermission("net");

const HEADERS = { "X-Test": "test", "X-Large": "x".repeat(5_000) };

/** Connects a client with {@linkcode HEADERS}. */
async function connected(
  options: ServerOptions,
  onConnect: (client: Connection) => unknown,
  run: (connection: Connection, client: ClientSocket) => Promise<void>,
): Promise<void> {
  await using server = new ServerSocket(options);
  server.on("connect", (client) => onConnect(client));
  await server.listen("127.0.0.1", 0);
  const client = new ClientSocket({ headers: HEADERS });
  await Promise.all([server.waitFor("connect"), client.connect(server.url)]);
  const [connection] = server.clients;
  if (!connection) throw new Error("Nobody is there");
  await run(connection, client);
  await client.close();
}

/** The names of all headers, and those that this test has set. */
function namesOf({ headers }: Connection): string[] {
  return [...headers.keys()];
}

Deno.test({
  name: "Connection.headers is empty after connect listeners",
  ignore,
  async fn() {
    const seen: (string | null)[] = [];
    const authorize = ({ headers }: Request) =>
      seen.push(headers.get("X-Test"));
    await connected({ authorize }, (client) => {
      seen.push(client.headers.get("X-Test"));
    }, async (connection, client) => {
      assertEquals(namesOf(connection), []);
      connection.headers.set("x", "y"); // belongs to whoever has asked for it
      assertEquals(namesOf(connection), []);
      const names = connection.waitFor("close").then(() => namesOf(connection));
      await client.close();
      assertEquals(await names, []);
    });
    assertEquals(seen, ["test", "test"]);
  },
});

Deno.test({
  name: "Connection.headers remains until promises of connect listeners settle",
  ignore,
  async fn() {
    const { promise, resolve } = Promise.withResolvers<void>();
    const late: (string | null)[] = [];
    await connected({}, async (client) => {
      await promise;
      late.push(client.headers.get("X-Test"));
    }, async (connection) => {
      assertEquals(connection.headers.get("X-Large")?.length, 5_000);
      resolve();
      await new Promise((resolve) => setTimeout(resolve));
      assertEquals(late, ["test"]);
      assertEquals(namesOf(connection), []);
    });
  },
});

Deno.test({
  name: "keepHeaders keeps named headers without large values",
  ignore,
  async fn() {
    const keepHeaders = ["X-Test", "X-Large", "X-Missing"];
    await connected({ keepHeaders }, () => {}, (connection) => {
      assertEquals([...connection.headers], [["x-test", "test"]]);
      return Promise.resolve();
    });
  },
});

Deno.test("keepHeaders rejects anything but a list of names", () => {
  const values: unknown[] = ["user-agent", [""], ["a b"], [7], 7, {}];
  for (const keepHeaders of values) {
    assertThrows(
      () => Reflect.construct(ServerSocket, [{ keepHeaders }]),
      TypeError,
      'Cannot use "keepHeaders" unless it is a list of tokens such as ["user-agent"]',
    );
  }
});

Deno.test({
  name: "ServerSocket refuses URLs of more than 8,192 characters with 414",
  ignore,
  async fn() {
    await using server = new ServerSocket({ maxDisconnectedClients: 10 });
    const refused: [number, string][] = [];
    server.on("refused", (_request, status, reason) => {
      refused.push([status, reason]);
    });
    await server.listen("127.0.0.1", 0);
    const longest = `${server.url.replace("ws", "http")}/`;
    const url = server.url + "/" + "x".repeat(8_192 - longest.length);
    const client = new ClientSocket();
    await client.connect(url);
    const [connection] = server.clients;
    assertEquals(connection?.url, url);
    await client.close();
    await assertRejects(() => client.connect(`${url}x?y`));
    assertEquals(refused, [[
      414,
      "The URL of a WebSocket may have at most 8192 characters",
    ]]);
  },
});

Deno.test({
  name: "Connection.headers are not held by the request, which Deno holds",
  ignore,
  async fn() {
    const requests: Request[] = [];
    const seen: (string | null)[] = [];
    const look = () => {
      for (const { headers } of requests) seen.push(headers.get("X-Test"));
    };
    const authorize = (request: Request) => requests.push(request);
    await connected({ authorize }, look, () => {
      look();
      return Promise.resolve();
    });
    assertEquals(seen, ["test", null]);
  },
});
