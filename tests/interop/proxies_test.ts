/**
 * Behind real proxies, run by the files of `examples/deploy/`: who a client is, how
 * ends come through, and what becomes of connections when one of the two restarts.
 */

import {
  assertEquals,
  assertInstanceOf,
  assertLess,
  assertRejects,
  assertStrictEquals,
} from "@std/assert";
import { delay } from "@std/async";
import {
  ClientSocket,
  ConnectError,
  type Connection,
  sameOrigin,
  ServerSocket,
} from "../../mod.ts";
import { CERTIFICATE } from "../support/certificate.ts";
import { freePort } from "../support/daemon.ts";
import { type Kind, ReverseProxy } from "../support/reverse_proxy.ts";
import { lacksPermission } from "../support/permissions.ts";
import { lacksProgram } from "../support/programs.ts";
import { Program } from "../support/program.ts";
import { HANDSHAKE, request } from "../support/raw_peer.ts";
import type { UnixServerReport } from "../support/unix_server.ts";

const isUnable = await lacksPermission("net", "run", "read", "write", "env");
const ignore = isUnable || await lacksProgram("nginx", "caddy");
const ignoreNginx = isUnable || await lacksProgram("nginx");

function test(name: string, fn: () => Promise<void>): void {
  Deno.test({ name, ignore, fn });
}

type Options = ConstructorParameters<typeof ServerSocket>[0];

/** A server that echoes. */
async function listening(port = 0, options: Options = {}) {
  const server = new ServerSocket({ trustProxy: 1, ...options });
  server.on("message", ({ author, content }) => author.send(content));
  await server.listen("127.0.0.1", port);
  return server;
}

/** A client that has come through a proxy, and its connection as a server has it. */
async function through(
  front: ReverseProxy,
  server: ServerSocket,
  options: ConstructorParameters<typeof ClientSocket>[0] = {},
): Promise<[ClientSocket, Connection]> {
  const client = new ClientSocket(options);
  const connect = server.waitFor("connect");
  await client.connect(`${front.url}/live`);
  return [client, (await connect)[0]];
}

async function echo(client: ClientSocket, text: string): Promise<void> {
  const answer = client.waitFor("message");
  await client.send(text);
  assertStrictEquals((await answer)[0].content, text);
}

/** A server behind a proxy. */
async function behind(kind: Kind, options: Options = {}) {
  const server = await listening(0, options);
  const ports = kind === "nginx" ? [server.port, freePort()] : [server.port];
  const front = await ReverseProxy.start(kind, ports);
  return {
    server,
    front,
    async [Symbol.asyncDispose]() {
      await server.close();
      await front[Symbol.asyncDispose]();
    },
  };
}

for (const kind of ["nginx", "caddy"] as const) {
  test(`ServerSocket behind ${kind} knows the address of a client, whatever it claims`, async () => {
    await using both = await behind(kind, { origins: sameOrigin });
    const { front, server } = both;
    const [client, connection] = await through(front, server);
    assertStrictEquals(connection.remoteAddress, "127.0.0.1");
    assertStrictEquals(connection.path, "/live");
    client.handle(({ content }) => `${content}, too`);
    assertStrictEquals(await connection.request("me"), "me, too");
    const [spoofer, spoofed] = await through(front, server, {
      headers: {
        "X-Forwarded-For": "192.0.2.7",
        Origin: front.url.replace("wss", "https"),
      },
    });
    assertStrictEquals(spoofed.remoteAddress, "127.0.0.1");
    const foreign = new ClientSocket({
      headers: { Origin: "https://elsewhere.example" },
    });
    // Deno's client asks once more by HTTP/2, and tells what comes of that.
    const refused = server.waitFor("refused");
    await assertRejects(
      () => foreign.connect(`${front.url}/live`),
      ConnectError,
    );
    assertStrictEquals((await refused)[1], 403);
    await client.close();
    await spoofer.close();
  });

  test(`ServerSocket behind ${kind} and its client report a close with code and reason`, async () => {
    await using both = await behind(kind);
    const { front, server } = both;
    for (const side of ["client", "server"] as const) {
      const [client, connection] = await through(front, server);
      await echo(client, "ä".repeat(10_000));
      const ends = [client.waitFor("close"), connection.waitFor("close")];
      await (side === "client" ? client : connection).close(4001, "bye");
      const here = [4001, "bye", "local"];
      const there = [4001, "bye", "peer"];
      assertEquals(
        await Promise.all(ends),
        side === "client" ? [here, there] : [there, here],
      );
    }
  });

  test(`ServerSocket behind ${kind} and its client report a cut line as a disconnect`, async () => {
    await using both = await behind(kind);
    const { front, server } = both;
    const [client, connection] = await through(front, server);
    const lost = connection.waitFor("disconnect");
    client.terminate();
    assertEquals(await lost, [1006, "", "network"]);
    const [other, otherConnection] = await through(front, server);
    const otherLost = other.waitFor("disconnect");
    otherConnection.terminate();
    assertEquals(await otherLost, [1006, "", "network"]);
  });

  test(`ServerSocket behind ${kind} is reconnected to after the proxy has died`, async () => {
    await using both = await behind(kind);
    const { front, server } = both;
    const [client, connection] = await through(front, server, {
      reconnect: { initialDelay: 10, maxDelay: 100 },
    });
    const ends = [
      client.waitFor("disconnect"),
      connection.waitFor("disconnect"),
    ];
    const missing = client.waitFor("reconnecting", {
      filter: (attempt) => attempt === 2,
    });
    await front.kill();
    for (const end of await Promise.all(ends)) {
      assertEquals(end, [1006, "", "network"]);
    }
    await missing;
    const back = client.waitFor("connect");
    await front.run();
    await back;
    await echo(client, "back");
    await client.close();
  });

  test(`ServerSocket behind ${kind} is reconnected to after a restart`, async () => {
    await using both = await behind(kind);
    const { front, server } = both;
    const { port } = server;
    const [client] = await through(front, server, {
      reconnect: { initialDelay: 10, maxDelay: 100 },
    });
    const closed = client.waitFor("close");
    // Nobody is there for a while, and the proxy says so.
    const missing = client.waitFor("reconnecting", {
      filter: (attempt) => attempt === 2,
    });
    await server.shutdown({ retryAfter: 1_000 });
    assertEquals(await closed, [1001, "retry-after=1", "peer"]);
    await missing;
    await using next = await listening(port);
    const back = client.waitFor("connect");
    await back;
    await echo(client, "back");
    assertStrictEquals(next.clients.size, 1);
    await client.close();
  });

  test(`ServerSocket behind ${kind} that dies is a disconnect of its clients`, async () => {
    await using program = new Program([
      "run",
      ...["--allow-net=127.0.0.1", "examples/deploy/server.ts"],
      ...["127.0.0.1", "0"],
    ]);
    const url = new URL(await program.line("Listening at "));
    const ports = kind === "nginx"
      ? [Number(url.port), freePort()]
      : [Number(url.port)];
    await using front = await ReverseProxy.start(kind, ports);
    const client = new ClientSocket();
    await client.connect(`${front.url}/live`);
    const lost = client.waitFor("disconnect");
    program.kill("SIGKILL");
    assertEquals(await lost, [1006, "", "network"]);
  });
}

test("ServerSocket behind nginx keeps a silent connection open by pings", async () => {
  await using pinging = await listening(0, { idleTimeout: 1_000 });
  await using silent = await listening(0, { idleTimeout: 0 });
  const changes = { "proxy_read_timeout 60s;": "proxy_read_timeout 3s;" };
  await using one = await ReverseProxy.start(
    "nginx",
    [pinging.port, freePort()],
    changes,
  );
  await using other = await ReverseProxy.start(
    "nginx",
    [silent.port, freePort()],
    changes,
  );
  const [kept] = await through(one, pinging);
  const [cut, connection] = await through(other, silent);
  const ends = [cut.waitFor("disconnect"), connection.waitFor("disconnect")];
  for (const end of await Promise.all(ends)) {
    assertEquals(end, [1006, "", "network"]);
  }
  // It has been silent for longer.
  await echo(kept, "still here");
  await kept.close();
});

test("ServerSocket behind nginx keeps its connections when nginx is reloaded", async () => {
  await using both = await behind("nginx");
  const { front, server } = both;
  const [client] = await through(front, server);
  const [before] = await front.workers();
  front.reload();
  // There is a new worker, which takes what comes from now on.
  for (;;) {
    const [next] = await Promise.all([
      front.workers(),
      (await front.fetch("/")).text(),
    ]);
    if (next.some((worker) => worker !== before)) break;
  }
  await echo(client, "still here");
  const [other] = await through(front, server);
  await echo(other, "here, too");
  for (const one of [client, other]) await one.close();
});

test("ServerSocket behind nginx hands clients over to another server", async () => {
  await using one = await listening();
  await using other = await listening();
  const servers = [one, other];
  await using front = await ReverseProxy.start("nginx", [one.port, other.port]);
  const clients: ClientSocket[] = [];
  const come = async () => {
    const client = new ClientSocket({ reconnect: { initialDelay: 1 } });
    await client.connect(`${front.url}/live`);
    clients.push(client);
  };
  for (let i = 0; i < 4; i++) await come();
  const sizes = () => servers.map(({ clients }) => clients.size);
  // By the number of connections.
  assertEquals(sizes(), [2, 2]);
  const back = other.collect("connect", { limit: 2 });
  const refused = one.waitFor("refused");
  // One goes now, and the other one not yet.
  const closed = one.shutdown({ drain: { batch: 1, every: 600_000 } });
  await come();
  await back;
  // There nginx has sent who came, to whom there are fewest connections.
  assertStrictEquals((await refused)[1], 503);
  assertEquals(sizes(), [1, 4]);
  const [last] = one.clients;
  const third = other.waitFor("connect");
  last?.terminate();
  await closed;
  await third;
  assertEquals(sizes(), [0, 5]);
  for (const client of clients) {
    await echo(client, "hello");
    await client.close();
  }
});

test("ServerSocket behind nginx serves other requests, too", async () => {
  await using both = await behind("nginx", {
    paths: ["/live"],
    fallback: ({ url, headers }) =>
      new Response(`${url} ${headers.get("connection")}`),
  });
  const { front } = both;
  const page = await front.fetch("/page?a=b");
  assertStrictEquals(
    await page.text(),
    `http://${front.host}/page?a=b null`,
  );
});

/** A client that does as it likes. */
async function rawly(
  front: ReverseProxy,
  ...lines: string[]
): Promise<Deno.TlsConn> {
  const tls = await Deno.connectTls({
    hostname: "localhost",
    port: front.port,
    caCerts: [CERTIFICATE],
  });
  await tls.write(new TextEncoder().encode(lines.join("\r\n")));
  return tls;
}

test("ServerSocket behind nginx never sees a request whose headers do not end", async () => {
  await using front = await ReverseProxy.start("nginx", [
    freePort(),
    freePort(),
  ], {
    "client_header_timeout 10s;": "client_header_timeout 1s;",
  });
  using tls = await rawly(front, "GET / HTTP/1.1", "Host: localhost", "");
  // Without a word.
  await assertRejects(
    () => tls.read(new Uint8Array(1)),
    Deno.errors.UnexpectedEof,
  );
});

test("ServerSocket behind nginx cuts a client that does not read", async () => {
  // None of its own bounds would end it.
  await using server = await listening(0, {
    idleTimeout: 0,
    maxBufferedAmount: Infinity,
  });
  await using front = await ReverseProxy.start("nginx", [
    server.port,
    freePort(),
  ], {
    "send_timeout 30s;": "send_timeout 1s;",
  });
  const connect = server.waitFor("connect");
  using _tls = await rawly(front, request(HANDSHAKE));
  const [connection] = await connect;
  const lost = connection.waitFor("disconnect");
  for (let i = 0; i < 64; i++) connection.send(new Uint8Array(1024 * 1024));
  assertEquals((await lost)[0], 1006);
});

for (const authorizes of ["now", "later"]) {
  Deno.test({
    name:
      `ServerSocket behind nginx with a Unix socket frees the places of clients that leave during the handshake, authorize answers ${authorizes}`,
    ignore: ignoreNginx,
    async fn() {
      const places = 10;
      const folder = await Deno.makeTempDir();
      try {
        await Deno.chmod(folder, 0o755); // the workers of nginx are another user
        const path = `${folder}/socket`;
        await using program = new Program([
          ...["run", "--allow-all", "tests/support/unix_server.ts"],
          ...[path, `${places}`, authorizes],
        ]);
        await program.line("listening");
        await using front = await ReverseProxy.start("nginx", [1, freePort()], {
          "server 127.0.0.1:1 ": `server unix:${path} `,
        });
        const leave = async () => {
          using connection = await Deno.connectTls({
            hostname: "localhost",
            port: front.port,
            caCerts: [CERTIFICATE],
          });
          const handshake = request({ ...HANDSHAKE, Host: front.host });
          await connection.write(new TextEncoder().encode(handshake));
        };
        for (let round = 0; round < 3; round++) {
          await Promise.all(Array.from({ length: places }, leave));
        }
        const start = performance.now();
        const clients = Array.from(
          { length: places },
          () => new ClientSocket(),
        );
        // All places at once are there again.
        for (const client of clients) {
          for (;;) {
            try {
              await client.connect(`${front.url}/live`);
              break;
            } catch (error) {
              assertInstanceOf(error, ConnectError);
              assertLess(performance.now() - start, 10_000);
              await delay(50);
            }
          }
        }
        for (const client of clients) await echo(client, "here");
        const ended = clients.map((client) => client.waitFor("end"));
        await program.write("close");
        const report: UnixServerReport = JSON.parse(
          await program.line("closed "),
        );
        for (const [{ code }] of await Promise.all(ended)) {
          assertStrictEquals(code, 1001);
        }
        assertStrictEquals(report.connects, report.ends);
        assertLess(places, report.authorized);
        assertLess(report.shutdown, 10_000);
      } finally {
        await Deno.remove(folder, { recursive: true });
      }
    },
  });
}
