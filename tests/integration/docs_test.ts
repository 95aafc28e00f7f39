/** What checks the documentation: that it finds what is wrong. */

import { assert, assertEquals } from "@std/assert";
import { anchors, blocks, links } from "../../tools/pages.ts";
import { lacksPermission } from "../support/permissions.ts";
import { lacksProgram } from "../support/programs.ts";

Deno.test("anchors() returns the anchors of GitHub", () => {
  const page =
    "# `close` or `disconnect`?\n\n## A\n\n## A\n\n## [B](c), _d_\n" +
    "```sh\n# no heading\n```\n";
  assertEquals([...anchors(page)], [
    "close-or-disconnect",
    "a",
    "a-1",
    "b-_d_",
  ]);
});

Deno.test("links() ignores code", () => {
  const page = '[a](b.md) ![c](d.png "e") `[f](g)`\n\n[wrapped\nlink](h#i)\n' +
    '```ts\n[j](k);\n```\n[l]: m\n<img src="n.png">\n';
  assertEquals([...links(page)].map(({ line, target }) => [line, target]), [
    [1, "b.md"],
    [1, "d.png"],
    [4, "h#i"],
    [8, "m"],
    [9, "n.png"],
  ]);
});

Deno.test("blocks() parses the marks of a block", () => {
  const page =
    '- In a list:\n  ```sh unchecked="needs  a key" stays file=a.ts\n' +
    "  deno\n  ```\n";
  const [block] = blocks("a.md", page);
  assertEquals(block?.line, 2);
  assertEquals(block?.language, "sh");
  assertEquals([...block?.attributes ?? []], [
    ["unchecked", "needs  a key"],
    ["stays", ""],
    ["file", "a.ts"],
  ]);
  assertEquals(block?.code, ["deno"]);
});

Deno.test({
  name: "docs/README.md links to all pages",
  ignore: await lacksPermission("read"),
  async fn() {
    const folder = new URL("../../docs/", import.meta.url);
    const page = await Deno.readTextFile(new URL("README.md", folder));
    const led = new Set(
      Array.from(links(page), ({ target }) => target.replace(/#.*$/, "")),
    );
    for await (const { name } of Deno.readDir(folder)) {
      if (!name.endsWith(".md") || name === "README.md") continue;
      assert(led.has(name), `There is no link to ${name}`);
    }
  },
});

/** Each page, and what is said of it. */
const WRONG: Record<string, [page: string, problem: RegExp]> = {
  "a block that is neither checked nor run": [
    "```python\nprint()\n```\n",
    /^a\.md:1: a block of "python" is neither checked nor run$/m,
  ],
  "a block of no language": ["```\nx\n```\n", /^a\.md:1: a block of ""/m],
  "no reason not to check a block": [
    "```sh unchecked\ntrue\n```\n",
    /^a\.md:1: it is "unchecked", but does not say why$/m,
  ],
  "a mark that does not exist": [
    "```sh empyt\ntrue\n```\n",
    /^a\.md:1: "empyt" is no mark of a block$/m,
  ],
  "a command that fails": [
    "\n```sh\necho so\nfalse\n```\n",
    /^a\.md:2: false\n {2}ended with 1, and said:/m,
  ],
  "a program that was to stay": [
    "```sh stays\ntrue\n```\n",
    /^a\.md:1: true\n {2}ended with 0, and said:$/m,
  ],
  "another output than is said": [
    "```sh\necho no\n```\n\n```text output\nyes\n```\n",
    /^a\.md:5: What should say:\nyes\n/m,
  ],
  "a file whose types are wrong": [
    "```ts ignore file=a.ts\nconst a: string = 1;\n```\n",
    /TS2322/,
  ],
  "JSON that is none": ["```json\n{,}\n```\n", /^a\.md:1: SyntaxError/m],
  "a link to no page": ["[b](b.md)\n", /^a\.md:1: b\.md: there is no b\.md$/m],
  "a link to no heading": [
    "# Here\n\n[b](#there)\n",
    /^a\.md:3: #there: there is no heading "there" in a\.md$/m,
  ],
};

Deno.test({
  name: "tools/docs.ts reports errors of a page",
  ignore: await lacksPermission("run", "read", "write") ||
    await lacksProgram("bash", "git"),
  async fn(t) {
    for (const [what, [page, problem]] of Object.entries(WRONG)) {
      await t.step(what, async () => {
        const { success, stderr } = await walk(page);
        assertEquals([success, problem.test(stderr) || stderr], [false, true]);
      });
    }
    await t.step("nothing, where nothing is", async () => {
      const { success, stderr } = await walk(
        "# Here\n\n[b](#here)\n\n```sh empty\nmkdir b\ncd b\n```\n\n" +
          "```json file=c.json\n{}\n```\n\n```sh\n# goes on there\ncat \\\n" +
          '  c.json\npwd\n```\n\n```text output\n{...\n.../b\n```\n\n```sh unchecked="why"\n' +
          "false\n```\n\n```sh clone\ncat a.md\n```\n\n```sh stays\nA=so bash -c 'echo $A; exec sleep 600'\n```\n",
      );
      assertEquals([success, stderr], [true, ""]);
    });
  },
});

/** Walks through a page that stands alone in a folder. */
async function walk(
  page: string,
): Promise<{ success: boolean; stderr: string }> {
  const folder = await Deno.makeTempDir();
  try {
    await Deno.writeTextFile(`${folder}/a.md`, page);
    const { success, stderr } = await new Deno.Command(Deno.execPath(), {
      args: [
        "run",
        ...["--no-config", "--allow-read", "--allow-write"],
        "--allow-run=bash",
        new URL("../../tools/docs.ts", import.meta.url).href,
      ],
      cwd: folder,
      env: { NO_COLOR: "1" },
    }).output();
    return { success, stderr: new TextDecoder().decode(stderr) };
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}
