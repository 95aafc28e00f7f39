/** The hook of examples/react, with the real React, in a page under StrictMode. */

import { assertEquals, assertStrictEquals } from "@std/assert";
import { CHROMIUM, launch, type Page } from "../support/browser.ts";
import { BROKER_PERMISSIONS, lacksPermission } from "../support/permissions.ts";
import { Program } from "../support/program.ts";

const ignore = await lacksPermission(...BROKER_PERMISSIONS) ||
  !CHROMIUM;

async function start(port = "0"): Promise<{ server: Program; url: string }> {
  const server = new Program([
    "run",
    "--allow-net",
    "--allow-read",
    "--allow-run",
    "examples/react/server.ts",
    port,
  ]);
  return { server, url: await server.line("Open ") };
}

/** Waits until the page shows what the state is. */
async function shows(page: Page, state: string): Promise<void> {
  await page.locator("output").getByText(state, { exact: true }).waitFor();
}

Deno.test({
  name:
    "useSocket() stays connected in StrictMode, follows its URL, and ends with its component",
  ignore,
  async fn() {
    const first = await start();
    await using server = first.server;
    const browser = await launch();
    try {
      const page = await browser.newPage();
      const problems: string[] = [];
      page.on("pageerror", (error) => problems.push(String(error)));
      page.on("console", (message) => {
        const text = message.text();
        // A refused connection is told by the browser itself.
        if (message.type() === "error" && !text.startsWith("WebSocket")) {
          problems.push(text);
        }
      });
      /** The sockets of the page, by path, that have not ended. */
      const open = new Map<string, number>();
      page.on("websocket", (socket) => {
        const { pathname } = new URL(socket.url());
        const count = (change: number) =>
          open.set(pathname, (open.get(pathname) ?? 0) + change);
        count(1);
        socket.on("close", () => count(-1));
      });
      const settled = async (expected: Record<string, number>) => {
        const isSettled = () =>
          Object.entries(expected).every(([path, count]) =>
            open.get(path) === count
          );
        while (!isSettled()) await page.waitForTimeout(20);
      };
      const button = (name: string) => page.getByRole("button", { name });
      await page.goto(first.url);

      await button("Tea").click();
      await shows(page, "open");
      await button("Say hello").click();
      await page.locator("#message").getByText("hello, tea").waitFor();
      await settled({ "/rooms/tea": 1 });

      await button("Coffee").click();
      await page.getByText("coffee is open").waitFor();
      await button("Say hello").click();
      await page.locator("#message").getByText("hello, coffee").waitFor();
      await settled({ "/rooms/tea": 0, "/rooms/coffee": 1 });

      server.kill("SIGKILL");
      await shows(page, "waiting");
      // What is sent meanwhile is not lost.
      await button("Say hello").click();
      const second = await start(new URL(first.url).port);
      await using _ = second.server;
      await shows(page, "open");

      await button("Leave").click();
      await page.locator("output").waitFor({ state: "detached" });
      await settled({ "/rooms/tea": 0, "/rooms/coffee": 0 });
      assertEquals(problems, []);
    } finally {
      await browser.close();
    }
  },
});

Deno.test({
  name: "useSocket() has at most 20 lines",
  ignore,
  async fn() {
    const file = new URL(
      "../../examples/react/page/use_socket.ts",
      import.meta.url,
    );
    const text = await Deno.readTextFile(file);
    const [hook = ""] = /^export function useSocket[^]*?^}/m.exec(text) ?? [];
    assertStrictEquals(hook.split("\n").length <= 20, true);
  },
});
