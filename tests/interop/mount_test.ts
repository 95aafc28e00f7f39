/**
 * The server within others: each example of `examples/mount/` as a process of its own,
 * what a framework may do to the upgrade, and what it must not.
 */

import {
  assertEquals,
  assertMatch,
  assertRejects,
  assertStrictEquals,
  assertStringIncludes,
} from "@std/assert";
import { Hono, type MiddlewareHandler } from "hono";
import { compress } from "hono/compress";
import { cors } from "hono/cors";
import { etag } from "hono/etag";
import { secureHeaders } from "hono/secure-headers";
import { timing } from "hono/timing";
import { ClientSocket, ConnectError, ServerSocket } from "../../mod.ts";
import { lacksPermission } from "../support/permissions.ts";
import { Program } from "../support/program.ts";
import { HANDSHAKE, RawPeer, request } from "../support/raw_peer.ts";

const ignore = await lacksPermission("net", "run", "read", "env");

function test(name: string, fn: () => Promise<void>): void {
  Deno.test({ name, ignore, fn });
}

/** Connects, and says something that comes back. */
async function echo(url: string): Promise<ClientSocket> {
  const client = new ClientSocket();
  await client.connect(url);
  const answer = client.waitFor("message");
  await client.send("hello");
  assertStrictEquals((await answer)[0].content, "hello");
  return client;
}

async function refusal(url: string): Promise<string> {
  const error = await assertRejects(
    () => new ClientSocket().connect(url),
    ConnectError,
  );
  return error.message;
}

/** What is held to be so wherever the server is mounted. */
async function holds(program: Program): Promise<void> {
  const http = await program.line("Listening at ");
  const url = http.replace("http", "ws");

  const page = await fetch(http);
  assertEquals([page.status, await page.text()], [
    200,
    "Sockets are at /live\n",
  ]);
  const nowhere = await fetch(`${http}/nope`);
  assertStrictEquals(nowhere.status, 404);
  await nowhere.text();
  const plain = await fetch(`${http}/live?token=secret`);
  // Express knows nothing of a page there; others ask the server.
  assertMatch(`${plain.status}`, /^(404|426)$/);
  await plain.text();

  assertStringIncludes(await refusal(`${url}/live`), "401");
  assertStringIncludes(await refusal(`${url}/nope?token=secret`), "404");

  const client = await echo(`${url}/live?token=secret`);
  await client.close(4001, "bye");
  assertStrictEquals(await program.line("closed"), `4001 "bye"`);

  const lost = await echo(`${url}/live?token=secret`);
  lost.terminate();
  assertStrictEquals(await program.line("lost"), "1006 network");

  const last = await echo(`${url}/live?token=secret`);
  const closed = last.waitFor("close");
  program.kill("SIGTERM");
  assertEquals(await closed, [1001, "", "peer"]);
  assertStrictEquals(await program.line("closed"), `1001 ""`);
  await program.line("Closed.");
  assertStrictEquals(await program.exit(), 0);
}

const permissions = ["--allow-net", "--allow-env", "--allow-read"];
for (
  const [name, script] of [
    ["Deno.serve with routes", "examples/mount/deno_serve.ts"],
    ["Hono", "examples/mount/hono.ts"],
    ["Express", "examples/mount/express.ts"],
    ["Oak of npm", "tests/support/oak.js"],
  ] as const
) {
  test(`ServerSocket.fetch() in ${name} serves pages, sockets, refusals, ends and shutdown`, async () => {
    await using program = new Program(
      ["run", ...permissions, script, "127.0.0.1", "0"],
    );
    await holds(program);
  });
}

test("ServerSocket.fetch() in deno serve --parallel shares rooms between workers", async () => {
  await using program = new Program([
    "serve",
    ...["--parallel", "--host=127.0.0.1", "--port=0"],
    "examples/mount/deno_serve_parallel.ts",
  ], { output: "stderr" });
  const http = /http:\S+:\d+/.exec(await program.line("deno serve:"))?.[0];
  const url = `${http?.replace("http", "ws")}/live?token=secret`;
  const page = await fetch(`${http}/`);
  assertEquals([page.status, await page.text()], [
    200,
    "Sockets are at /live\n",
  ]);
  const nowhere = await fetch(`${http}/nope`);
  assertStrictEquals(nowhere.status, 404);
  await nowhere.text();
  assertStringIncludes(await refusal(`${url}2`), "401");
  assertStringIncludes(await refusal(url.replace("live", "nope")), "404");

  // The kernel picks the worker: until two are at different ones.
  const clients: ClientSocket<{ incoming: { worker: string } }>[] = [];
  const workers = new Map<string, ClientSocket>();
  while (workers.size < 2) {
    const client = new ClientSocket<{ incoming: { worker: string } }>();
    const hello = client.waitFor("message");
    await client.connect(url);
    clients.push(client);
    workers.set((await hello)[0].data.worker, client);
  }
  const [here, there] = [...workers.values()];
  const heard = there?.waitFor("message");
  await here?.send("hello over there");
  assertStrictEquals((await heard)?.[0].content, "hello over there");

  const closed = Promise.all(clients.map((client) => client.waitFor("close")));
  program.kill("SIGTERM");
  for (const [code] of await closed) assertStrictEquals(code, 1001);
  assertStrictEquals(await program.exit(), 0);
});

/** Hono, with one middleware around the socket. */
function around(
  middleware: MiddlewareHandler,
  isKept = false,
) {
  const server = new ServerSocket();
  server.on("message", ({ author, content }) => author.send(content));
  const app = new Hono<{ Bindings: Deno.ServeHandlerInfo }>();
  app.onError((error, context) => context.text(error.message, 500));
  app.use("/live", middleware);
  const upgrades = new WeakMap<Request, Response>();
  app.get("/live", async (context) => {
    const { raw } = context.req;
    const response = await server.fetch(raw, context.env);
    if (isKept && response.status === 101) upgrades.set(raw, response);
    return response;
  });
  const http = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen() {} },
    async (request, info) => {
      const response = await app.fetch(request, info);
      return upgrades.get(request) ?? response;
    },
  );
  return {
    http,
    url: `ws://127.0.0.1:${http.addr.port}/live`,
    async [Symbol.asyncDispose]() {
      await server.close();
      await http.shutdown();
    },
  };
}

const HARMLESS: Record<string, MiddlewareHandler> = {
  "cors()": cors(),
  "secureHeaders()": secureHeaders(),
  "etag()": etag(),
  "compress()": compress(),
  "timing()": timing(),
  "one that sets a cookie": async (context, next) => {
    context.header("set-cookie", "a=b");
    await next();
  },
  "one that adds a header afterwards": async (context, next) => {
    await next();
    context.header("x-late", "yes");
  },
  "one that copies the answer": async (context, next) => {
    await next();
    context.res = new Response(context.res.body, context.res);
  },
  "one that reads the answer": async (context, next) => {
    await next();
    await context.res.clone().text();
  },
};

for (const [name, middleware] of Object.entries(HARMLESS)) {
  test(`ServerSocket.fetch() in Hono upgrades after ${name}`, async () => {
    await using mounted = around(middleware);
    const client = await echo(mounted.url);
    await client.close();
  });
}

test("ServerSocket.fetch() in Hono sends headers that a middleware adds afterwards", async () => {
  await using mounted = around(async (context, next) => {
    context.header("x-early", "yes"); // for answers that Hono makes itself
    await next();
    context.header("set-cookie", "a=b");
  });
  using peer = await RawPeer.connect(mounted.http.addr.port);
  await peer.write(request(HANDSHAKE, "GET /live HTTP/1.1"));
  const head = await peer.head();
  assertStringIncludes(head, "HTTP/1.1 101 ");
  assertStringIncludes(head, "set-cookie: a=b");
  assertStrictEquals(head.includes("x-early"), false);
});

const HARMFUL: Record<string, MiddlewareHandler> = {
  "throws after the upgrade": async (_context, next) => {
    await next();
    throw new Error("late");
  },
  "answers with something else": async (context, next) => {
    await next();
    context.res = undefined;
    context.res = new Response("something else");
  },
};

for (const [name, middleware] of Object.entries(HARMFUL)) {
  test(`ServerSocket.fetch() in Hono upgrades with a middleware that ${name} if the upgrade is kept`, async () => {
    await using mounted = around(middleware, true);
    const client = await echo(mounted.url);
    await client.close();
  });
}

for (const what of ["throws", "replaces"]) {
  // Deno's own doing. If this fails, docs/mounting.md can be shorter.
  test(`ServerSocket.fetch() in Hono cannot keep a middleware that ${what} after the upgrade from ending Deno.serve`, async () => {
    await using program = Program.run("tests/support/mount_mistakes.ts", what);
    const url = await program.line("Listening at ");
    const client = await echo(`${url}/fine`);
    const connecting = assertRejects(
      () => new ClientSocket().connect(`${url}/live`),
      ConnectError,
    );
    await program.line("Nobody listens any more");
    // Who is there stays; nobody else can come.
    const answer = client.waitFor("message");
    await client.send("still here");
    assertStrictEquals((await answer)[0].content, "still here");
    await assertRejects(
      () => new ClientSocket().connect(`${url}/fine`),
      ConnectError,
    );
    const lost = client.waitFor("disconnect");
    program.kill("SIGKILL");
    await connecting;
    await lost;
  });
}
