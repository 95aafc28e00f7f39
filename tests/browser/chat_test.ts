/** The chat of the examples, in a real browser, with a server that is killed. */

import { assert, assertEquals, assertStrictEquals } from "@std/assert";
import { CHROMIUM, launch, type Page } from "../support/browser.ts";
import { startChat } from "../support/chat.ts";
import { BROKER_PERMISSIONS, lacksPermission } from "../support/permissions.ts";
import type { Program } from "../support/program.ts";

const ignore = await lacksPermission(...BROKER_PERMISSIONS) ||
  !CHROMIUM;

/** Somebody who uses the chat. */
class User {
  readonly violations: string[] = [];

  constructor(readonly page: Page) {
    page.on("pageerror", (error) => this.violations.push(String(error)));
    page.on("console", (message) => {
      const text = message.text();
      if (/Content.Security/i.test(text)) this.violations.push(text);
    });
    page.on("dialog", (dialog) => {
      this.violations.push(`dialog: ${dialog.message()}`);
      dialog.dismiss();
    });
  }

  async enter(url: string, name: string): Promise<void> {
    await this.page.goto(url);
    await this.joins(name);
    await this.sees("Connected");
  }

  async says(text: string): Promise<void> {
    await this.page.getByLabel("Your message").fill(text);
    await this.page.keyboard.press("Enter");
  }

  async leaves(): Promise<void> {
    await this.page.getByRole("button", { name: "Leave" }).click();
  }

  async joins(name: string): Promise<void> {
    await this.page.getByLabel("Your name").fill(name);
    await this.page.getByRole("button", { name: "Join" }).click();
  }

  /** Waits for what the status light says. */
  async sees(status: string): Promise<void> {
    await this.page.getByRole("status").filter({ hasText: status }).waitFor();
  }

  /** Waits until there are so many messages, none of them open. */
  async messages(count: number): Promise<string[]> {
    const texts = this.page.locator("#messages .text");
    await texts.nth(count - 1).waitFor();
    const open = this.page.locator(
      '#messages .own:not([data-delivery="sent"])',
    );
    await open.first().waitFor({ state: "detached" });
    return await texts.allTextContents();
  }
}

/** Two people in one chat. */
async function meet(
  run: (ada: User, grace: User, url: string, server: Program) => Promise<void>,
): Promise<void> {
  const { server, url } = await startChat();
  await using _ = server;
  const browser = await launch();
  try {
    const [ada, grace] = [
      new User(await browser.newPage()),
      new User(await (await browser.newContext()).newPage()),
    ];
    await ada.enter(url, "Ada");
    await grace.enter(url, "Grace");
    await run(ada, grace, url, server);
    assertEquals([...ada.violations, ...grace.violations], []);
  } finally {
    await browser.close();
  }
}

function test(name: string, run: Parameters<typeof meet>[0]): void {
  Deno.test({
    name: `the chat ${name}`,
    ignore,
    fn: () => meet(run),
  });
}

test("shows messages and members to both people", async (ada, grace) => {
  await ada.says("Good morning");
  await grace.messages(1);
  await grace.says("Good morning, Ada");
  const expected = ["Good morning", "Good morning, Ada"];
  assertEquals(await ada.messages(2), expected);
  assertEquals(await grace.messages(2), expected);
  const people = ada.page.locator("#people li");
  assertEquals(await people.allTextContents(), ["Ada (you)", "Grace"]);
  await grace.page.close();
  await ada.page.getByText("Here now: 1").waitFor();
});

test("shows what is typed as text", async (ada, grace) => {
  const texts = [
    "<script>alert(1)</script>",
    '<img src=x onerror="alert(2)">',
    "&lt;b&gt; javascript:alert(3)",
  ];
  for (const text of texts) await ada.says(text);
  assertEquals(await grace.messages(3), texts);
  const elements = grace.page.locator("#messages :is(script, img, b)");
  assertStrictEquals(await elements.count(), 0);
});

test(
  "delivers what was typed during an outage once and in order",
  async (ada, grace, url, server) => {
    await ada.says("before");
    await grace.messages(1);
    server.kill("SIGKILL");
    await Promise.all([ada.sees("Reconnecting"), grace.sees("Reconnecting")]);
    await ada.says("one");
    await ada.says("two");
    await grace.says("three");
    const waiting = ada.page.getByText("Waiting for the connection");
    assertStrictEquals(await waiting.count(), 2);
    const { server: next } = await startChat(new URL(url).port);
    await using _ = next;
    await Promise.all([ada.sees("Connected"), grace.sees("Connected")]);
    await ada.says("four");
    const [ofAda, ofGrace] = await Promise.all([
      ada.messages(5),
      grace.messages(5),
    ]);
    // Each page has its own first; between the two there is no order.
    const own = ["one", "two", "four"];
    for (const seen of [ofAda, ofGrace]) {
      assertEquals(seen.slice(1).toSorted(), [...own, "three"].toSorted());
      assertEquals(seen.filter((text) => own.includes(text)), own);
      assertStrictEquals(seen[0], "before");
    }
  },
);

test(
  "shows each message once if the server is killed while they are sent",
  async (ada, grace, url, server) => {
    const texts = Array.from({ length: 40 }, (_, i) => `message ${i + 1}`);
    for (const text of texts) {
      await ada.says(text);
      // What is sent between the two has left the page, and is lost.
      if (text === texts[14]) server.kill("SIGSTOP");
      if (text === texts[19]) server.kill("SIGKILL");
    }
    const { server: next } = await startChat(new URL(url).port);
    await using _ = next;
    for (const user of [ada, grace]) {
      await user.sees("Connected");
      const seen = await user.messages(texts.length);
      assertEquals(seen.toSorted(), texts.toSorted());
    }
  },
);

test("refuses a page of another site", async ({ page }, _grace, url) => {
  const socket = new URL("/chat", url.replace("http", "ws"));
  const connect = `new Promise((resolve) => {
    const socket = new WebSocket("${socket}");
    socket.onopen = () => resolve("open");
    socket.onclose = (event) => resolve("closed " + event.code);
  })`;
  assertStrictEquals(await page.evaluate(connect), "open");
  await page.goto("about:blank");
  assertStrictEquals(await page.evaluate(connect), "closed 1006");
});

test(
  "shows in its light that the server is silent",
  async (ada, _grace, _url, server) => {
    server.kill("SIGSTOP");
    try {
      const status = ada.page.getByRole("status");
      await status.filter({ hasText: "Reconnecting" }).waitFor({
        timeout: 60_000,
      });
    } finally {
      server.kill("SIGCONT");
    }
    await ada.sees("Connected");
  },
);

test(
  "lists a member once who leaves and joins while the server hangs",
  async (ada, grace, _url, server) => {
    const count = grace.page.locator("#count");
    server.kill("SIGSTOP");
    for (const name of ["Ada 2", "Ada 3"]) {
      await ada.leaves();
      await ada.joins(name);
      await ada.sees("Connecting");
    }
    server.kill("SIGCONT");
    await ada.sees("Connected");
    await ada.says("here");
    await grace.messages(1);
    const people = grace.page.locator("#people");
    await people.filter({ hasText: /^Grace \(you\)Ada 3$/ }).waitFor();
    server.kill("SIGSTOP");
    await ada.leaves();
    await ada.joins("Ada 4");
    await ada.leaves();
    server.kill("SIGCONT");
    await count.filter({ hasText: "1" }).waitFor();
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    assertStrictEquals(await count.textContent(), "1");
  },
);

test(
  "limits what is typed during an outage to what the server accepts at once",
  async (ada, grace, url, server) => {
    server.kill("SIGKILL");
    await Promise.all([ada.sees("Reconnecting"), grace.sees("Reconnecting")]);
    const alert = ada.page.locator("#text-error");
    const texts: string[] = [];
    while (texts.length < 110 && !(await alert.textContent())) {
      texts.push(`${texts.length + 1}`);
      await ada.says(`${texts.length}`);
    }
    // What does not fit is still there to be sent later.
    const last = await ada.page.getByLabel("Your message").inputValue();
    assertStrictEquals(last, texts.pop());
    const { server: next } = await startChat(new URL(url).port);
    await using _ = next;
    await ada.sees("Connected");
    assertEquals(await ada.messages(texts.length), texts);
    await ada.page.keyboard.press("Enter");
    assertEquals(await ada.messages(texts.length + 1), [...texts, last]);
    await ada.sees("Connected");
  },
);

test("keeps the light beside its text on a phone", async ({ page }) => {
  await page.setViewportSize({ width: 390, height: 800 });
  const words = page.getByRole("status");
  await words.evaluate((element) => {
    element.textContent = "Closed: the server has said something long (1008)";
  });
  const [dot, text] = [
    await page.locator("#light .dot").boundingBox(),
    await words.boundingBox(),
  ];
  assert(dot && text);
  assert(text.height > 40, "The words are on one line");
  assert(dot.x + dot.width < text.x, "The dot is not beside the words");
  assert(dot.y < text.y + text.height / 2, "The dot is not at the first line");
});
