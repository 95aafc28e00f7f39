/** The page of `inspect()` in a real browser. */

import { assert, assertEquals, assertStrictEquals } from "@std/assert";
import { broadcastChannel } from "../../adapters/broadcast_channel.ts";
import { ClientSocket } from "../../client.ts";
import { inspect } from "../../inspect.ts";
import { ServerSocket } from "../../server.ts";
import { CHROMIUM, launch, type Page } from "../support/browser.ts";
import { BROKER_PERMISSIONS, lacksPermission } from "../support/permissions.ts";
import { HANDSHAKE, RawPeer, request } from "../support/raw_peer.ts";

const ignore = await lacksPermission(...BROKER_PERMISSIONS) ||
  !CHROMIUM;

/** What would run if it were taken for more than text. */
const EVIL = `<img src=x onerror="alert(1)"><script>alert(2)</script>`;

/** A server, its page in a browser, and what should not happen there. */
interface Watched {
  readonly server: ServerSocket;
  readonly page: Page;
  readonly url: string;
  /** The statuses of what was posted. */
  readonly posted: readonly number[];
  /** Other origins that were asked. */
  readonly elsewhere: readonly string[];
  enter(path: string): Promise<ClientSocket>;
}

async function watch(
  run: (watched: Watched) => Promise<void>,
  mount: string,
): Promise<void> {
  const name = crypto.randomUUID();
  await using other = new ServerSocket({ adapter: broadcastChannel({ name }) });
  inspect(other, { label: `other ${EVIL}` });
  await other.listen("127.0.0.1", 0);
  await using server = new ServerSocket({
    adapter: broadcastChannel({ name }),
    paths: [/\/live\/.*/],
    fallback: (request) =>
      new URL(request.url).pathname === mount
        ? show(request)
        : new Response("elsewhere", { status: 404 }),
  });
  const handler = inspect(server);
  const posted: number[] = [];
  const show = (request: Request): Response => {
    const response = handler(request);
    if (request.method === "POST") posted.push(response.status);
    return response;
  };
  await server.listen("127.0.0.1", 0);
  const enter = async (path: string) => {
    const client = new ClientSocket({ plain: true });
    const connected = server.waitFor("connect");
    await client.connect(server.url + path);
    await connected;
    return client;
  };
  const browser = await launch();
  try {
    const page = await browser.newPage();
    const violations: string[] = [];
    const elsewhere: string[] = [];
    const origin = server.url.replace("ws:", "http:");
    page.on("pageerror", (error) => violations.push(String(error)));
    page.on("console", (message) => {
      const text = message.text();
      if (!text.startsWith("Failed to load resource")) violations.push(text);
    });
    page.on("dialog", (dialog) => {
      violations.push(`dialog: ${dialog.message()}`);
      dialog.dismiss();
    });
    page.on("request", (request) => {
      const url = new URL(request.url());
      if (url.protocol !== "data:" && url.origin !== origin) {
        elsewhere.push(url.origin);
      }
    });
    const url = origin + mount;
    await run({ server, page, url, posted, elsewhere, enter });
    assertEquals(violations, []);
  } finally {
    await browser.close();
  }
}

function test(
  name: string,
  run: (watched: Watched) => Promise<void>,
  mount = "/inspect",
): void {
  Deno.test({
    name: `inspect() in a browser ${name}`,
    ignore,
    fn: () => watch(run, mount),
  });
}

/** The cells of a table. */
async function cells(page: Page, table: string): Promise<string[]> {
  return await page.locator(`#${table} td`).allTextContents();
}

test("shows what comes from peers as text", async (watched) => {
  const { server, page, url, enter } = watched;
  server.on("connect", (client) => client.join(EVIL));
  const gone = await enter("/live/gone");
  const closed = server.waitFor("close");
  await gone.close(4000, EVIL);
  await closed;
  // A URL takes such a path as it is, if a peer writes it so.
  const path = EVIL.replaceAll(" ", "\u00a0");
  using refused = await RawPeer.connect(server.port);
  await refused.write(request(HANDSHAKE, `GET /no/${path} HTTP/1.1`));
  await refused.head();
  using odd = await RawPeer.open(server.port, `/live/'onerror='alert(3)'`);
  await page.goto(url);
  await page.locator("#list tr").waitFor();
  assert((await cells(page, "list")).includes(EVIL));
  assert((await cells(page, "rooms")).includes(EVIL));
  assert((await cells(page, "ends")).includes(EVIL));
  assert((await cells(page, "list")).includes("/live/'onerror='alert(3)'"));
  const [, , , , shown = ""] = await cells(page, "refusals");
  assert(decodeURIComponent(shown).startsWith("/no/<img"), shown);
  const foreign = page.locator("table :is(img, script, b, a)");
  assertStrictEquals(await foreign.count(), 0);
  // The button of a room shows who is in it, whatever it is called.
  await page.getByRole("tab", { name: "Rooms" }).click();
  await page.locator("#rooms button").click();
  await page.locator("#room").filter({ hasText: EVIL }).waitFor();
  assertStrictEquals(await page.locator("#list tr").count(), 1);
  odd.close();
});

test("closes a connection on request", async (watched) => {
  const { page, url, enter } = watched;
  const client = await enter("/live/ada");
  const closed = client.waitFor("close");
  await page.goto(url);
  const close = page.getByRole("button", { name: /^Close the connection of/ });
  await close.click();
  await page.getByRole("button", { name: "Cancel" }).click();
  assertStrictEquals(client.connection?.readyState, 1);
  await close.click();
  await page.getByRole("button", { name: "Close connection" }).click();
  assertEquals(await closed, [1000, "Closed by an administrator", "peer"]);
  await page.getByText("No connections.").waitFor();
  await page.getByRole("tab", { name: "Recent ends" }).click();
  await page.locator("#ends").getByText("Closed by an administrator").waitFor();
});

test("keeps reporting that a connection was not closed", async (watched) => {
  const { page, url, enter } = watched;
  const client = await enter("/live/ada");
  const closed = client.waitFor("close");
  await page.goto(url);
  await page.route("**/*close*", (route) => route.fulfill({ status: 403 }));
  await page.getByRole("button", { name: /^Close the connection of/ }).click();
  const close = page.getByRole("button", { name: "Close connection" });
  await close.click();
  const told = page.getByText("Not closed: the server responded with 403");
  await told.waitFor();
  // The next answer does not take its place.
  await page.waitForResponse((response) => response.url().includes("state"));
  await page.getByRole("status").filter({ hasText: /^Live$/ }).waitFor();
  assert(await told.isVisible());
  await page.unroute("**/*close*");
  await close.click();
  await closed;
  await told.waitFor({ state: "hidden" });
});

test("keeps the focus when connections come and go", async (watched) => {
  const { page, url, enter } = watched;
  await enter("/live/below");
  await enter("/live/mine");
  const above = await enter("/live/above");
  await page.goto(url);
  const rows = page.locator("#list tr");
  await rows.nth(2).waitFor();
  const mine = rows.filter({ hasText: "/live/mine" }).getByRole("button", {
    name: /^Close/,
  });
  await mine.focus();
  await above.close();
  await page.getByText("1–2 of 2").waitFor();
  await enter("/live/late");
  await page.getByText("1–3 of 3").waitFor();
  assertStrictEquals(
    await page.evaluate(
      'document.activeElement.closest("tr")?.cells[1].textContent',
    ),
    "/live/mine",
  );
});

test("updates if its URL has a password", async (watched) => {
  const { page, url, enter } = watched;
  await enter("/live/ada");
  await page.goto(url.replace("//", "//admin:secret@"));
  await page.getByRole("status").filter({ hasText: /^Live$/ }).waitFor();
});

test("closes no connection for a page of another origin", async (watched) => {
  const { server, page, url, posted, enter } = watched;
  await enter("/live/ada");
  const [own] = server.clients;
  const target = JSON.stringify(`${url}?close=${own?.id}`);
  // The same machine by another name is another origin.
  const other = server.url.replace("ws://127.0.0.1", "http://localhost");
  await page.goto(`${other}/elsewhere`);
  await page.evaluate(
    `fetch(${target}, { method: "POST", mode: "no-cors" }).catch(() => {})`,
  );
  assertEquals(posted, [403]);
  assertStrictEquals(own?.readyState, 1);
});

test(
  "updates, searches, sorts and pages",
  async (watched) => {
    const { page, url, elsewhere, enter } = watched;
    for (let i = 0; i < 60; i++) await enter(`/live/${i}`);
    await page.goto(url);
    await page.getByText("1–50 of 60").waitFor();
    await page.getByRole("button", { name: "Next" }).click();
    await page.getByText("51–60 of 60").waitFor();
    assertStrictEquals(await page.locator("#list tr").count(), 10);
    await page.getByRole("button", { name: "Path" }).click();
    await page.getByText("1–50 of 60").waitFor();
    const paths = () =>
      page.locator('#list td[data-label="Path"]').allTextContents();
    assertEquals((await paths()).slice(0, 3), [
      "/live/0",
      "/live/1",
      "/live/10",
    ]);
    await page.getByLabel("Search connections").fill("live/59");
    await page.getByText("1–1 of 1 matching, 60 in all").waitFor();
    assertEquals(await paths(), ["/live/59"]);
    await page.getByLabel("Search connections").fill("nowhere");
    await page.getByText("No matches.").waitFor();
    await page.getByLabel("Search connections").fill("");
    await page.getByText("1–50 of 60").waitFor();
    // What comes later is seen without a click.
    await enter("/live/late");
    await page.getByText("1–50 of 61").waitFor();
    await page.getByRole("button", { name: "Pause" }).click();
    await page.getByRole("status").filter({ hasText: "Paused" }).waitFor();
    assertEquals(elsewhere, []);
  },
  "/deep/in/there/",
);

test("reports that the server does not answer", async (watched) => {
  const { page, url } = watched;
  await page.goto(url);
  await page.getByRole("status").filter({ hasText: /^Live$/ }).waitFor();
  await page.route("**/*state*", (route) => route.fulfill({ status: 401 }));
  await page.getByRole("status").filter({ hasText: "responded with 401" })
    .waitFor();
  await page.unroute("**/*state*");
  await page.getByRole("status").filter({ hasText: /^Live$/ }).waitFor();
});

test("dims figures that are out of date", async (watched) => {
  const { page, url } = watched;
  await page.goto(url);
  await page.getByRole("status").filter({ hasText: /^Live$/ }).waitFor();
  const opacity = () =>
    page.evaluate("getComputedStyle(tiles).opacity").then(Number);
  assertStrictEquals(await opacity(), 1);
  await page.route("**/*state*", (route) => route.abort());
  await page.getByRole("status").filter({ hasText: "Disconnected" }).waitFor();
  assert(await opacity() < 1);
});

test("keeps the list, the search and the page in its address", async (watched) => {
  const { page, url, enter } = watched;
  for (let i = 0; i < 52; i++) await enter(`/live/${i}`);
  await page.goto(`${url}#search=live&sort=path&offset=50`);
  await page.getByText("51–52 of 52").waitFor();
  assertStrictEquals(
    await page.getByLabel("Search connections").inputValue(),
    "live",
  );
  await page.getByRole("tab", { name: "Recent ends" }).click();
  await page.locator("#ends-empty").waitFor();
  await page.reload();
  await page.locator("#ends-empty").waitFor();
  await page.goBack();
  await page.getByText("51–52 of 52").waitFor();
});

test("describes one connection", async (watched) => {
  const { server, page, url, enter } = watched;
  server.on("connect", (client) => client.join("lobby"));
  const client = await enter("/live/ada");
  const [own] = server.clients;
  await page.goto(url);
  await page.getByTitle("Show this connection").click();
  const detail = page.getByRole("dialog");
  await detail.getByText(own?.id ?? "?").waitFor();
  await detail.getByText("lobby").waitFor();
  await detail.getByText("0 incoming, 0 outgoing").waitFor();
  assert(page.url().endsWith(`#client=${own?.id}`), page.url());
  await client.close();
  await detail.getByText("ended, or unknown to this server").waitFor();
  await page.keyboard.press("Escape");
  await detail.waitFor({ state: "hidden" });
});

test("makes a table one stop of the Tab key", async (watched) => {
  const { server, page, url, enter } = watched;
  server.on("connect", (client) => client.join("lobby"));
  for (let i = 0; i < 5; i++) await enter(`/live/${i}`);
  await page.goto(url);
  await page.locator("#list tr").nth(4).waitFor();
  const stops = page.locator('#list button:not([tabindex="-1"])');
  assertStrictEquals(await stops.count(), 1);
  await stops.focus();
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("ArrowRight");
  const focused =
    "[document.activeElement.closest('tr').rowIndex, document.activeElement.textContent]";
  assertEquals(await page.evaluate(focused), [2, "lobby"]);
  assertStrictEquals(await stops.count(), 1);
});

test("shows the values of a plot under the pointer", async (watched) => {
  const { page, url, enter } = watched;
  await enter("/live/ada");
  await page.goto(url);
  const plot = page.locator("figure").first();
  const { x, y, width, height } = await plot.locator(".chart > svg")
    .boundingBox() ?? { x: 0, y: 0, width: 0, height: 0 };
  await page.mouse.move(x + width, y + height / 2);
  await plot.getByText("ago: open").waitFor();
  await page.mouse.move(x, y - 100);
  await plot.getByText("at most").waitFor();
});

const LISTS = ["list", "rooms", "servers", "ends", "refusals"];

test("lists all servers that an adapter connects", async (watched) => {
  const { page, url, enter } = watched;
  await enter("/live/ada");
  await page.goto(url);
  await page.locator("#tab-servers").click();
  await page.locator("#servers tr").nth(1).waitFor();
  const [own = "", ownCount, , , , , , ownBroker, other, otherCount] =
    await cells(page, "servers");
  assert(own.endsWith("(this one)"), own);
  assertEquals([ownCount, ownBroker, otherCount], ["1", "up", "0"]);
  assertStrictEquals(other, `other ${EVIL}`);
});

test("passes axe", async (watched) => {
  const { server, page, url, enter } = watched;
  server.on("connect", (client) => client.join("lobby"));
  const { default: axe } = await import("axe-core");
  await enter("/live/ada");
  const gone = await enter("/live/gone");
  const closed = server.waitFor("close");
  await gone.close(4000, "bye");
  await closed;
  await page.goto(url);
  await page.getByRole("status").filter({ hasText: /^Live$/ }).waitFor();
  await page.evaluate(`${axe.source}; undefined`);
  for (const colorScheme of ["light", "dark"] as const) {
    await page.emulateMedia({ colorScheme });
    for (const list of LISTS) {
      await page.locator(`#tab-${list}`).click();
      const found = await page.evaluate(
        "axe.run().then(({ violations }) => violations.map(({ id, nodes }) => [id, nodes[0].html]))",
      );
      assertEquals(found, [], `${colorScheme} ${list}`);
    }
  }
});

/** Elements that stick out of their card. */
const OUTSIDE = `(() => {
  const outside = [];
  for (const card of document.querySelectorAll("section:not([hidden]), figure, .tiles div")) {
    const { left, right } = card.getBoundingClientRect();
    for (const one of card.querySelectorAll("*")) {
      if (one.closest("svg, thead, .hidden")) continue;
      const box = one.getBoundingClientRect();
      if (box.width > 0 && (box.right > right + 1 || box.left < left - 1)) outside.push(one.outerHTML);
    }
  }
  return outside;
})()`;

for (const width of [360, 700, 900, 1024, 1236, 1440]) {
  test(`cuts nothing off at a width of ${width}`, async (watched) => {
    const { server, page, url, enter } = watched;
    server.on("connect", (client) => {
      client.join("a-long-name-of-a-room-without-a-space-".repeat(4));
      client.join("b");
    });
    await page.setViewportSize({ width, height: 800 });
    await enter(`/live/${"long/".repeat(30)}`);
    const gone = await enter(`/live/${"x".repeat(150)}`);
    const closed = server.waitFor("close");
    await gone.close(4000, "y".repeat(120));
    await closed;
    await page.goto(url);
    await page.getByRole("status").filter({ hasText: /^Live$/ }).waitFor();
    for (const list of LISTS) {
      await page.locator(`#tab-${list}`).click();
      const overflow = await page.evaluate(
        "document.documentElement.scrollWidth - innerWidth",
      );
      assertStrictEquals(overflow, 0, list);
      assertEquals(await page.evaluate(OUTSIDE), [], list);
    }
  });
}
