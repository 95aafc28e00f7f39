/**
 * Runs a script in a page of any browser. No driver is needed: the browser opens
 * the page as a person would, and the page posts its result to where it came from.
 */

import { deadline } from "@std/async";
import { findMiniBrowser, findRuntime } from "./runtimes.ts";

export type BrowserName = "chromium" | "firefox" | "webkit";

export const BROWSERS: readonly BrowserName[] = [
  "chromium",
  "firefox",
  "webkit",
];

/** How long a page may take, in milliseconds: far more than it does. */
const PAGE_TIMEOUT_MS = 240_000;

/** Settings that keep Firefox from doing anything but opening the page. */
const FIREFOX_PREFERENCES = {
  "app.normandy.enabled": false,
  "app.update.enabled": false,
  "browser.aboutwelcome.enabled": false,
  "browser.shell.checkDefaultBrowser": false,
  "browser.startup.homepage_override.mstone": "ignore",
  "captivedetect.canonicalURL": "",
  "datareporting.policy.dataSubmissionEnabled": false,
  "extensions.getAddons.cache.enabled": false,
  "network.captive-portal-service.enabled": false,
  "network.connectivity-service.enabled": false,
  "toolkit.telemetry.server": "",
};

/** Finds a browser; undefined if it is missing. */
export async function findBrowser(
  name: BrowserName,
): Promise<string | undefined> {
  if (name !== "webkit") return await findRuntime(name);
  return await findMiniBrowser();
}

/** The arguments with which a browser opens one page, in a folder of its own. */
async function prepare(
  name: BrowserName,
  folder: string,
  url: string,
): Promise<string[]> {
  switch (name) {
    case "chromium":
      return [
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-background-networking",
        "--no-first-run",
        `--user-data-dir=${folder}`,
        url,
      ];
    case "firefox": {
      const lines = Object.entries(FIREFOX_PREFERENCES).map(([name, value]) =>
        `user_pref(${JSON.stringify(name)}, ${JSON.stringify(value)});\n`
      );
      await Deno.writeTextFile(`${folder}/user.js`, lines.join(""));
      return ["--headless", "--no-remote", "--profile", folder, url];
    }
    case "webkit":
      return ["--private", url];
  }
}

/** A screen that nobody sees: WebKitGTK has no headless mode. */
class VirtualScreen implements AsyncDisposable {
  private constructor(
    readonly process: Deno.ChildProcess,
    readonly display: string,
  ) {}

  static async start(): Promise<VirtualScreen> {
    const process = new Deno.Command("Xvfb", {
      args: ["-displayfd", "1", "-nolisten", "tcp"],
      stdin: "null",
      stdout: "piped",
      stderr: "null",
    }).spawn();
    // It writes the number and the end of the line one by one, and ends if it cannot.
    const reader = process.stdout.pipeThrough(new TextDecoderStream())
      .getReader();
    let line = "";
    while (!line.endsWith("\n")) {
      const { value } = await deadline(reader.read(), 60_000);
      if (value === undefined) throw new Error("Xvfb has ended");
      line += value;
    }
    await reader.cancel();
    return new VirtualScreen(process, `:${line.trim()}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.process.kill("SIGTERM");
    await this.process.status;
  }
}

const PAGE = `<!doctype html><meta charset=utf-8><title>Test</title>
<link rel=icon href="data:,"><script type=module src=page.js></script>`;

/**
 * Runs a script in a browser.
 *
 * @param name Which browser.
 * @param command Where it is, as {@linkcode findBrowser} says.
 * @param script The page's module, as one file.
 * @param expression What is evaluated after it; a promise is awaited.
 * @returns What it gives, by way of JSON; nothing checks that it is of this type.
 */
export async function evaluateInBrowser<Result>(
  name: BrowserName,
  command: string,
  script: string,
  expression: string,
): Promise<Result> {
  const result = Promise.withResolvers<Result>();
  const module = `${script}
const result = await (async () => ({ value: await (${expression}) }))()
  .catch((error) => ({ error: error + "\\n" + error?.stack }));
await fetch("result", { method: "POST", body: JSON.stringify(result) });`;
  await using server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen() {} },
    async (request) => {
      if (request.method === "POST") {
        const { value, error } = await request.json();
        if (error === undefined) result.resolve(value);
        else result.reject(new Error(`In ${name}: ${error}`));
        return new Response();
      }
      return new URL(request.url).pathname === "/page.js"
        ? new Response(module, {
          headers: { "Content-Type": "text/javascript" },
        })
        : new Response(PAGE, { headers: { "Content-Type": "text/html" } });
    },
  );
  const { port } = server.addr;
  const folder = await Deno.makeTempDir();
  const screen = name === "webkit" ? await VirtualScreen.start() : undefined;
  try {
    const browser = new Deno.Command(command, {
      args: await prepare(name, folder, `http://127.0.0.1:${port}/`),
      env: {
        HOME: folder,
        XDG_RUNTIME_DIR: folder,
        ...screen && { DISPLAY: screen.display },
      },
      stdin: "null",
      stdout: "null",
      stderr: "null",
    }).spawn();
    try {
      const ended = browser.status.then(({ code }) => {
        throw new Error(`${name} has ended by itself, with ${code}`);
      });
      return await deadline(
        Promise.race([result.promise, ended]),
        PAGE_TIMEOUT_MS,
      );
    } finally {
      browser.kill("SIGTERM");
      await browser.status;
    }
  } finally {
    await screen?.[Symbol.asyncDispose]();
    await remove(folder);
  }
}

/** Removes a folder that a process which is about to end may still write to. */
async function remove(folder: string): Promise<void> {
  for (let tries = 0;; tries++) {
    try {
      return await Deno.remove(folder, { recursive: true });
    } catch (error) {
      if (tries === 50) throw error;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}
