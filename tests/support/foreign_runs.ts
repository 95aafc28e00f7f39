/** The client in each runtime and browser, against servers of others. */

import {
  type BrowserName,
  evaluateInBrowser,
  findBrowser,
} from "./browser_page.ts";
import { bundle } from "./bundle.ts";
import type { Outcomes } from "./foreign/cases.ts";
import { FOREIGN_SERVERS, ForeignServer } from "./foreign_servers.ts";
import { Program } from "./program.ts";
import { findRuntime } from "./runtimes.ts";

/** Tries the client with servers that listen at these URLs. */
type Try = (urls: readonly string[]) => Promise<Outcomes[]>;

/** Where a client runs: finds the program, and gives undefined if it is missing. */
export const CLIENT_RUNTIMES: Readonly<
  Record<string, () => Promise<Try | undefined>>
> = {
  "Deno": async () => await program([Deno.execPath(), "run", "--allow-net"]),
  "Node": async () => await program([await findRuntime("node")]),
  "Bun": async () => await program([await findRuntime("bun")]),
  "Chromium": async () => await browser("chromium"),
  "Firefox": async () => await browser("firefox"),
  "WebKitGTK": async () => await browser("webkit"),
};

async function program(
  [command, ...args]: readonly [string | undefined, ...string[]],
): Promise<Try | undefined> {
  if (!command) return undefined;
  const script = await bundle("tests/support/foreign/main.ts");
  return async (urls) => {
    const file = await Deno.makeTempFile({ suffix: ".mjs" });
    try {
      await Deno.writeTextFile(file, script);
      await using client = new Program(
        [...args, file, JSON.stringify(urls)],
        { command },
      );
      return JSON.parse(await client.line(""));
    } finally {
      await Deno.remove(file);
    }
  };
}

async function browser(name: BrowserName): Promise<Try | undefined> {
  const command = await findBrowser(name);
  if (!command) return undefined;
  const script = await bundle(
    "--platform=browser",
    "tests/support/foreign/page.ts",
  );
  return async (urls) => {
    const expression = `tryServers(${JSON.stringify(urls)})`;
    return await evaluateInBrowser(name, command, script, expression);
  };
}

/** What came of the cases with each server that is there, by its name. */
export async function tryForeignServers(
  run: Try,
): Promise<Map<string, Outcomes>> {
  const folder = await Deno.makeTempDir();
  const servers = new Map<string, ForeignServer>();
  try {
    for (const [name, { find }] of Object.entries(FOREIGN_SERVERS)) {
      const found = await find(folder);
      if (found) servers.set(name, await ForeignServer.start(found));
    }
    const outcomes = await run([...servers.values()].map(({ url }) => url));
    const verified = new Map<string, Outcomes>();
    let at = 0;
    for (const [name, server] of servers) {
      const outcome = outcomes[at++];
      if (outcome) verified.set(name, await server.verify(outcome));
    }
    return verified;
  } finally {
    for (const server of servers.values()) await server[Symbol.asyncDispose]();
    await Deno.remove(folder, { recursive: true });
  }
}
