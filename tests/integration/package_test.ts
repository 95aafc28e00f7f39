/** What others get: the files, the types, and what JSR scores. */

import { assert, assertEquals } from "@std/assert";
import {
  config,
  documented,
  parts,
  published,
  surface,
} from "../../tools/package.ts";
import { lacksPermission } from "../support/permissions.ts";

const ignore = await lacksPermission("run", "read");

/** What ships besides the modules. */
const PAPERS = ["CHANGELOG.md", "LICENSE", "README.md", "deno.json"];

/** Entry points that need a package of somebody else's, and which. */
const FOREIGN: Record<string, RegExp> = {
  "./redis":
    /^(npm:\/?@redis\/client@|node:(async_hooks|buffer|crypto|diagnostics_channel)$)/,
  "./nats":
    /^(npm:\/?@nats-io\/nats-core@|node:(crypto|dns\/promises|fs\/promises|net|tls)$)/,
  "./cli": /^node:(process|readline|util)$/,
  "./telemetry": /^npm:\/?@opentelemetry\/api@/,
};

function read(file: string): Promise<string> {
  return Deno.readTextFile(new URL(`../../${file}`, import.meta.url));
}

Deno.test({
  name: "the package has only the modules of its entry points",
  ignore,
  async fn() {
    const { exports } = await config();
    const needed = new Set(PAPERS);
    for (const [name, path] of Object.entries(exports)) {
      const { files, strangers } = await parts(path);
      for (const file of files) needed.add(file);
      const isKnown = (one: string) => FOREIGN[name]?.test(one) ?? false;
      assertEquals(strangers.filter((one) => !isKnown(one)), [], name);
    }
    assertEquals(await published(), [...needed].sort());
  },
});

Deno.test({
  name: "the package's types are those of tests/surface.txt",
  ignore,
  async fn() {
    const own = surface(await documented());
    assertEquals(
      own,
      await read("tests/surface.txt"),
      "The types of the package have changed. If that is meant, write them anew by `deno task surface`, and say so in CHANGELOG.md",
    );
  },
});

Deno.test({
  name: "the root exports fewer than 60 names",
  ignore,
  async fn() {
    const { symbols = [] } = (await documented()).get(".") ?? {};
    const names = new Set(symbols.map(({ name }) => name));
    assert(names.size > 0 && names.size < 60, `${names.size} names`);
  },
});

// What https://jsr.io/docs/scoring counts. That there are no slow types is checked
// by `deno publish --dry-run` itself. The description and the runtimes are set on
// JSR: see CONTRIBUTING.md.

Deno.test({
  name: "JSR finds a README with examples, and a license",
  ignore,
  async fn() {
    assert(/^```ts/m.test(await read("README.md")));
    assertEquals((await config()).license, "MIT");
  },
});

Deno.test({
  name: "the README has at most 200 lines",
  ignore,
  async fn() {
    const lines = (await read("README.md")).trimEnd().split("\n");
    assert(lines.length <= 200, `${lines.length} lines`);
  },
});

Deno.test({
  name: "JSR finds a description and an example of each entry point",
  ignore,
  async fn() {
    for (const [name, { module_doc }] of await documented()) {
      const { doc = "", tags = [] } = module_doc ?? {};
      assert(doc !== "", `"${name}" has no module doc`);
      assert(tags.some(({ kind }) => kind === "module"), `"${name}": @module`);
      const isShown = /^```/m.test(doc) ||
        tags.some(({ kind }) => kind === "example");
      assert(isShown, `"${name}" has no example`);
    }
  },
});

Deno.test({
  name: "JSR finds a doc comment of each symbol",
  ignore,
  async fn() {
    const bare: string[] = [];
    for (const [entry, { symbols }] of await documented()) {
      for (const { name, declarations } of symbols) {
        const isBare = declarations.some(({ kind, jsDoc }) =>
          kind !== "reference" && !jsDoc?.doc
        );
        if (isBare) bare.push(`${entry} ${name}`);
      }
    }
    assertEquals(bare, []);
  },
});

Deno.test({
  name: "JSR finds the repository",
  ignore,
  async fn() {
    const workflow = await read(".github/workflows/publish.yml");
    assert(/^ +id-token: write\b/m.test(workflow));
    assert(/^ +- run: deno publish$/m.test(workflow));
  },
});

Deno.test({
  name: "all places name the same Deno: that of CI, and the oldest",
  ignore,
  async fn() {
    const ci = await read(".github/workflows/ci.yml");
    const publish = await read(".github/workflows/publish.yml");
    const [, own] = /^DENO_VERSION=(.+)$/m.exec(await read(".ci/run")) ?? [];
    const [, oldest] = /npx -y deno@(\S+) run/
      .exec(await read("deno.json")) ?? [];
    const named = (text: string) =>
      new Set(
        [...text.matchAll(/deno-version: (.+)$/gm)].map(([, one]) => one),
      );
    assertEquals(named(ci), new Set([own, oldest, "v2.x"]));
    assertEquals(named(publish), new Set([own]));
    const minor = oldest?.replace(/[.]0$/, "");
    const readme = await read("README.md");
    for (const [line, version] of readme.matchAll(/Deno (\S+) and newer/g)) {
      assertEquals(version, minor, line);
    }
    assert(readme.includes(`npx -y deno@${own}`));
  },
});
