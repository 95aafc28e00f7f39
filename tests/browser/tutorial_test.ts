/** The chat of docs/tutorial.md, as its reader has it at the end, in a browser. */

import { assertStrictEquals } from "@std/assert";
import { blocks } from "../../tools/pages.ts";
import { Terminal } from "../../tools/terminal.ts";
import { CHROMIUM, launch, type Page } from "../support/browser.ts";
import { BROKER_PERMISSIONS, lacksPermission } from "../support/permissions.ts";
import { Program } from "../support/program.ts";

const ignore = await lacksPermission(...BROKER_PERMISSIONS) ||
  !CHROMIUM;

/** Makes the files of the last step, in a folder of their own. */
async function make(folder: string): Promise<void> {
  const file = "docs/tutorial.md";
  const text = await Deno.readTextFile(
    new URL(`../../${file}`, import.meta.url),
  );
  for (const { attributes, code } of blocks(file, text)) {
    const name = attributes.get("file");
    if (name) await Deno.writeTextFile(`${folder}/${name}`, code.join("\n"));
  }
  await using terminal = new Terminal(folder);
  await terminal.run([
    "deno add jsr:@ws/events",
    "deno add npm:zod@4.6.7",
    "deno bundle --minify --platform=browser page.ts -o page.js",
  ]);
}

async function start(
  folder: string,
  port: string,
): Promise<{ server: Program; url: string }> {
  const args = ["--allow-net", `--allow-read=${folder}`];
  const server = new Program(["run", ...args, `${folder}/server.ts`, port]);
  return { server, url: await server.line("The chat is at http:") };
}

async function enter(page: Page, url: string, name: string): Promise<void> {
  page.on("dialog", (dialog) => dialog.accept(name));
  await page.goto(url);
  await hears(page, `${name}: joined`);
}

async function says(page: Page, text: string): Promise<void> {
  await page.getByRole("textbox").fill(text);
  await page.keyboard.press("Enter");
}

async function hears(page: Page, line: string): Promise<void> {
  await page.getByText(line, { exact: true }).first().waitFor();
}

Deno.test({
  name: "the tutorial separates rooms, and its pages reconnect after a deploy",
  ignore,
  async fn() {
    const folder = await Deno.realPath(await Deno.makeTempDir());
    const browser = await launch();
    try {
      await make(folder);
      const first = await start(folder, "0");
      await using before = first.server;
      const { port } = new URL(`http:${first.url}`);
      const url = `http://localhost:${port}/rooms/`;
      const [ada, grace, alan] = [
        await browser.newPage(),
        await browser.newPage(),
        await browser.newPage(),
      ];
      await enter(ada, `${url}tea`, "ada");
      await enter(grace, `${url}tea`, "grace");
      await enter(alan, `${url}coffee`, "alan");
      await hears(ada, "grace: joined");
      await says(alan, "Nobody here");
      await hears(alan, "alan: Nobody here");
      await says(ada, "Is it ready?");
      await hears(grace, "ada: Is it ready?");

      before.kill("SIGTERM");
      await before.line("All connections are closed.");
      assertStrictEquals(await before.exit(), 0);
      await ada.getByText("Disconnected.").waitFor();
      await says(ada, "I wait.");
      const second = await start(folder, port);
      await using _after = second.server;
      await hears(ada, "ada: I wait.");
      assertStrictEquals(await grace.getByText("Nobody here").count(), 0);
    } finally {
      await browser.close();
      await Deno.remove(folder, { recursive: true });
    }
  },
});
