/** A real browser: headless Chromium, from Debian. */

import { assert } from "@std/assert";
import type { Browser, Page } from "playwright-core";
import { findRuntime } from "./runtimes.ts";

/** Where it is; undefined if it is missing. */
export const CHROMIUM: string | undefined =
  (await Deno.permissions.query({ name: "run" })).state === "granted"
    ? await findRuntime("chromium")
    : undefined;

export type { Page };

/** Starts it. */
export async function launch(): Promise<Browser> {
  assert(CHROMIUM, "There is no Chromium: see .ci/run");
  // Even to load it takes all permissions.
  const { chromium } = await import("playwright-core");
  return await chromium.launch({
    executablePath: CHROMIUM,
    args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
  });
}
