/** The small examples with a page, in a real browser. */

import { assert, assertEquals } from "@std/assert";
import { CHROMIUM, launch, type Page } from "../support/browser.ts";
import { BROKER_PERMISSIONS, lacksPermission } from "../support/permissions.ts";
import { Program } from "../support/program.ts";

const ignore = await lacksPermission(...BROKER_PERMISSIONS) ||
  !CHROMIUM;

async function start(
  name: string,
  ...args: string[]
): Promise<{ server: Program; url: string }> {
  const server = new Program([
    "run",
    "--allow-net",
    "--allow-read",
    "--allow-run",
    ...args.slice(1).map((file) => `--allow-write=${file}`),
    `examples/${name}/server.ts`,
    ...args,
  ]);
  return { server, url: await server.line("Open ") };
}

/** Adds a task, and waits until it is shown. */
async function add(page: Page, text: string): Promise<void> {
  await page.getByLabel("New task").fill(text);
  await page.getByRole("button", { name: "Add" }).click();
}

Deno.test({
  name:
    "examples/todo shows changes of one page in another, also after a restart",
  ignore,
  async fn() {
    const file = await Deno.makeTempFile();
    await Deno.writeTextFile(file, "[]");
    const first = await start("todo", "0", file);
    await using server = first.server;
    const browser = await launch();
    try {
      const [ada, grace] = [await browser.newPage(), await browser.newPage()];
      for (const page of [ada, grace]) await page.goto(first.url);
      await add(ada, "Buy tea");
      await grace.getByLabel("Buy tea").check();
      await ada.locator("label:has(:checked)").waitFor();
      server.kill("SIGKILL");
      await ada.getByText("Offline").waitFor();
      await add(ada, "Buy milk"); // waits for the server
      const second = await start("todo", new URL(first.url).port, file);
      await using _ = second.server;
      await grace.getByLabel("Buy milk").check();
      await ada.locator("label:has(:checked)").nth(1).waitFor();
      for (const page of [ada, grace]) {
        const texts = await page.locator("li").allTextContents();
        assertEquals(texts.map((text) => text.trim()), ["Buy tea", "Buy milk"]);
      }
    } finally {
      await browser.close();
      await Deno.remove(file);
    }
  },
});

Deno.test({
  name: "examples/ticker shows 1,000 prices that change",
  ignore,
  async fn() {
    const { server, url } = await start("ticker", "0");
    await using _ = server;
    const browser = await launch();
    try {
      const page = await browser.newPage();
      await page.goto(url);
      const prices = page.locator("#prices span");
      await page.waitForFunction(
        'document.querySelectorAll("#prices .up, #prices .down").length === 1000',
      );
      const before = await prices.allTextContents();
      await page.waitForFunction("document.querySelector('.down')");
      const after = await prices.allTextContents();
      assertEquals(before.length, 1_000);
      assert(after.some((text, i) => text !== before[i]));
      await page.getByText(/open: \d+ changes/).waitFor();
    } finally {
      await browser.close();
    }
  },
});
