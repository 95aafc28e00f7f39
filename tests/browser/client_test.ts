/**
 * The client in a real browser, against a server that its page comes from.
 */

import {
  assert,
  assertEquals,
  assertMatch,
  assertStrictEquals,
} from "@std/assert";
import {
  sameOrigin,
  type ServerOptions,
  type ServerSocket,
} from "../../server.ts";
import { serve } from "../support/portable/server.ts";
import { CHROMIUM, launch, type Page } from "../support/browser.ts";
import { bundle } from "../support/bundle.ts";
import { BROKER_PERMISSIONS, lacksPermission } from "../support/permissions.ts";

const ignore = await lacksPermission(...BROKER_PERMISSIONS) ||
  !CHROMIUM;

let script: Promise<string> | undefined;

/** A server, and the page that came from it. */
class Visit implements AsyncDisposable {
  constructor(
    readonly server: ServerSocket,
    readonly page: Page,
    readonly refused: string[],
  ) {}

  static async begin(options: ServerOptions = {}): Promise<Visit> {
    script ??= bundle(
      "--platform=browser",
      "tests/support/portable/page.ts",
    );
    const source = await script;
    const server = await serve({
      ...options,
      origins: sameOrigin,
      fallback: (request) =>
        new URL(request.url).pathname === "/page.js"
          ? new Response(source, {
            headers: { "Content-Type": "text/javascript" },
          })
          : new Response(
            "<!doctype html><title>Test</title><script type=module src=page.js></script>",
            { headers: { "Content-Type": "text/html" } },
          ),
    });
    const refused: string[] = [];
    server.on("refused", (_request, status, reason) => {
      refused.push(`${status} ${reason}`);
    });
    const browser = await launch();
    const page = await browser.newPage();
    await page.goto(server.url.replace("ws:", "http:"));
    return new Visit(server, page, refused);
  }

  /** Connects a client that comes back quickly; it is called `client` there. */
  async connect(path: string, options = "{}"): Promise<void> {
    await this.page.evaluate(`(async () => {
      const client = globalThis.client = new ClientSocket({
        reconnect: { initialDelay: 10, maxDelay: 20 }, ...${options},
      });
      const told = globalThis.told = [];
      for (const type of ["connect", "close", "disconnect", "reconnecting"]) {
        client.on(type, (first) => {
          told.push(type === "connect" ? type : type + " " + first);
        });
      }
      client.on("message", (message) => told.push(message.content));
      await client.connect("${this.server.url}${path}");
    })()`);
  }

  /** Waits until the client has told so many things, and says which. */
  async told(count: number): Promise<string[]> {
    await this.page.waitForFunction(`told.length >= ${count}`);
    return await this.page.evaluate("told");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.page.context().browser()?.close();
    await this.server.close();
  }
}

function test(
  name: string,
  fn: (visit: Visit) => Promise<void>,
  options?: ServerOptions,
): void {
  Deno.test({
    name: `ClientSocket in a browser ${name}`,
    ignore,
    fn: async () => {
      await using visit = await Visit.begin(options);
      await fn(visit);
    },
  });
}

test("is refused in a page of another site", async (visit) => {
  await using other = await Visit.begin();
  const error = await other.page.evaluate(`
    new ClientSocket().connect("${visit.server.url}/echo").then(
      () => "connected",
      (error) => error.name,
    )
  `);
  assertStrictEquals(error, "ConnectError");
  // A browser does not tell why, so the client tries once more without its offer.
  assertStrictEquals(visit.refused.length, 2);
  assertMatch(visit.refused.join(), /403 Pages from http:.* may not connect/);
  assertStrictEquals(visit.server.clients.size, 0);
});

test("waits while there is no network, and connects when there is", async (visit) => {
  await visit.connect("/echo");
  await visit.page.context().setOffline(true);
  for (const client of visit.server.clients) client.terminate();
  // Many delays of at most 20 ms would have passed, and no attempt is made.
  assertEquals(await visit.told(3), [
    "connect",
    "disconnect 1006",
    "reconnecting 1",
  ]);
  await visit.page.evaluate(
    "new Promise((resolve) => setTimeout(resolve, 300))",
  );
  assertStrictEquals((await visit.told(3)).length, 3);
  await visit.page.context().setOffline(false);
  assertStrictEquals((await visit.told(4))[3], "connect");
});

test("continues on its connection after its page was frozen", async (visit) => {
  // The server is silent for all that time, by the clock of the page.
  await visit.connect("/echo", "{ idleTimeout: 2_000 }");
  const session = await visit.page.context().newCDPSession(visit.page);
  const states = { frozen: "frozen", active: "active" } as const;
  await session.send("Page.setWebLifecycleState", { state: states.frozen });
  const before = Date.now();
  while (Date.now() - before < 3_000) {
    for (const client of visit.server.clients) client.send("meanwhile");
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  await session.send("Page.setWebLifecycleState", { state: states.active });
  for (const client of visit.server.clients) client.send("after");
  await visit.page.waitForFunction(`told.includes("after")`);
  const told = await visit.told(2);
  assertEquals([...new Set(told)], ["connect", "meanwhile", "after"]);
});

test("reconnects after its page was frozen if the connection was lost", async (visit) => {
  await visit.connect("/echo");
  const session = await visit.page.context().newCDPSession(visit.page);
  await session.send("Page.setWebLifecycleState", { state: "frozen" });
  for (const client of visit.server.clients) client.terminate();
  await session.send("Page.setWebLifecycleState", { state: "active" });
  const told = await visit.told(4);
  assertEquals(told.slice(0, 2), ["connect", "disconnect 1006"]);
  await visit.page.waitForFunction(`told.at(-1) === "connect"`);
  await visit.page.evaluate(`client.send("again")`);
  await visit.page.waitForFunction(`told.at(-1) === "again"`);
});

test("closes its connection when the user leaves the page", async (visit) => {
  await visit.connect("/echo");
  const ended = visit.server.waitFor("close");
  await visit.page.goto("about:blank");
  const [, code] = await ended;
  assert([1001, 1005].includes(code), String(code));
});

test(
  "and its server report a close in the middle of what the page sends",
  async (visit) => {
    await visit.connect("/echo", "{ reconnect: false }");
    const ended = visit.server.waitFor("close");
    await visit.page.evaluate(`{
    const raw = globalThis.raw = [];
    const client = globalThis.client;
    client.on("close", (...args) => raw.push("close", ...args));
    client.on("disconnect", (...args) => raw.push("disconnect", ...args));
    for (let i = 0; i < 3_000; i++) client.send("x".repeat(1_000));
    undefined;
  }`);
    const [, code, reason] = await ended;
    await visit.page.waitForFunction("raw.length > 0");
    assertEquals(await visit.page.evaluate("raw"), [
      "close",
      code,
      reason,
      "peer",
    ]);
    assertStrictEquals(code, 1008);
  },
  { messageRate: { perSecond: 10, burst: 100 } },
);

test("a page whose policy forbids the URL does not try again", async ({ page, server }) => {
  const url = server.url.replace("ws:", "http:");
  await page.route("**/strict", async (route) => {
    await route.fulfill({
      contentType: "text/html",
      headers: { "Content-Security-Policy": "connect-src 'none'" },
      body: "<!doctype html><script type=module src=page.js></script>",
    });
  });
  await page.goto(`${url}/strict`);
  await page.waitForFunction(`typeof ClientSocket === "function"`);
  const error = await page.evaluate(`
    new ClientSocket({ reconnect: true }).connect("${server.url}/echo").then(
      () => "connected",
      ({ kind, message }) => [kind, message].join(" "),
    )
  `);
  assertMatch(String(error), /^refused .*Content Security Policy/);
});
