/** The page of errors: that all is on it that can happen, and nothing else. */

import { assert, assertEquals } from "@std/assert";
import { CloseCode } from "@ws/events";
import * as all from "@ws/events";
import { UNCERTAIN } from "../../core/retries/retry_codes.ts";
import { lacksPermission } from "../support/permissions.ts";

const ignore = await lacksPermission("read");

const root = new URL("../../", import.meta.url);

const read = (file: string) => Deno.readTextFile(new URL(file, root));

/** The code of the published modules that answer, close and throw. */
async function sources(): Promise<string> {
  const files = ["server.ts", "client.ts", "message.ts"];
  const core = Deno.readDir(new URL("core", root));
  for await (const { name, isFile } of core) {
    if (isFile) files.push(`core/${name}`);
    else {
      for await (const file of Deno.readDir(new URL(`core/${name}`, root))) {
        files.push(`core/${name}/${file.name}`);
      }
    }
  }
  const texts = await Promise.all(files.map(read));
  return texts.join("\n").replaceAll(/\/\*\*[^]*?\*\//g, "");
}

/** The first cells of a table of the page, without their marks. */
function column(page: string, head: string): string[] {
  const lines = page.split("\n");
  const start = lines.findIndex((line) => cells(line)[0] === head);
  assert(start >= 0, `There is no table of ${head}`);
  const rows = lines.slice(start + 2);
  const end = rows.findIndex((line) => !line.startsWith("|"));
  return rows.slice(0, end)
    .map((line) => (cells(line)[0] ?? "").replaceAll("`", ""));
}

function cells(line: string): string[] {
  return line.split("|").slice(1, -1).map((cell) => cell.trim());
}

/** What a pattern finds, each once. */
function found(text: string, pattern: RegExp): string[] {
  return [...new Set([...text.matchAll(pattern)].map(([, one = ""]) => one))];
}

function same(actual: Iterable<string>, expected: Iterable<string>): void {
  assertEquals([...new Set(actual)].sort(), [...new Set(expected)].sort());
}

function test(name: string, fn: (page: string) => void | Promise<void>): void {
  Deno.test({
    name: `docs/errors.md has ${name}`,
    ignore,
    fn: async () => await fn(await read("docs/errors.md")),
  });
}

test("each class of errors", async (page) => {
  const own = Object.entries(all)
    .filter(([, value]) =>
      typeof value === "function" && value.prototype instanceof Error
    )
    .map(([name]) => name);
  // A class that is not exported is its superclass to a program.
  const used = found(await sources(), /\bnew ([A-Z]\w*(?:Error|Exception))\(/g)
    .filter((name) => name in globalThis || name in all);
  assert(own.length >= 5 && used.includes("TypeError"));
  same(column(page, "class"), [...own, ...used, "Error"]);
});

test("each name of a DOMException", async (page) => {
  const names = found(
    await sources(),
    /\bnew DOMException\([^;]*?"(\w+Error)"/g,
  );
  assertEquals(names.length, 3);
  // That of the runtime, for an aborted signal.
  const runtime = ["AbortError"];
  same(column(page, "name"), [...names, ...runtime]);
});

test("each code of a RequestError", async (page) => {
  const codes = found(await sources(), /\bcode: "([a-z]+)"/g);
  assertEquals(codes.length, 11);
  // The client handles the other codes of requests that are sent again.
  same(column(page, "`code`"), [...codes, UNCERTAIN, "your application"]);
});

test("each source of an error event", async (page) => {
  const text = await sources();
  const names = [
    ...found(text, /\breportError\(error, "(\w+)"/g),
    ...found(text, /host\.failed\(error, "(\w+)"/g),
  ].filter((name) => name !== "message"); // which is an event
  assert(names.includes("authorize"));
  same(column(page, "second argument"), [...names, "the name of an event"]);
});

test("each close code, by its name", async (page) => {
  const rows = page.split("\n").map(cells);
  for (const [name, code] of Object.entries(CloseCode)) {
    const row = rows.find(([first]) => first === `${code}`);
    assertEquals(row?.[1], `\`CloseCode.${name}\``);
  }
  // A client adds 3000 to what it may not send.
  const blamed = found(
    await sources(),
    /\bcloseForViolation\(\s*CloseCode\.(\w+)/g,
  );
  const own = Object.entries(CloseCode)
    .filter(([name]) => blamed.includes(name))
    .map(([, code]) => `${code + 3000}`);
  assertEquals(own.length, 3);
  same(column(page, "code"), [
    ...Object.values(CloseCode).map(String),
    ...own,
    "3000 to 3999",
    "4000 to 4999",
  ]);
});

test("the close codes after which a client reconnects", (page) => {
  for (const line of page.split("\n")) {
    const [first, , , answer] = cells(line);
    if (!/^\d{4}$/.test(first ?? "")) continue;
    const end = { type: "close", reason: "", cause: "peer" } as const;
    const isBack = all.isTransient({ ...end, code: Number(first) });
    assertEquals(answer, isBack ? "yes" : "no", first);
  }
});

test("each cause", async (page) => {
  const [, type = ""] = /export type Cause =([^;]+);/
    .exec(await read("core/events/errors.ts")) ?? [];
  const causes = found(type, /"(\w+)"/g);
  assertEquals(causes.length, 8);
  same(column(page, "`cause`"), causes);
});

test("each status of a refusal", async (page) => {
  const statuses = found(await sources(), /\bstatus: (\d{3})\b/g);
  assert(statuses.includes("503"));
  same(column(page, "status"), statuses);
});
