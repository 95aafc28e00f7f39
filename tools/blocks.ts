// Checks the types of the blocks of code that `deno check --doc` passes over: all
// those in Markdown, and those in doc comments that are marked `ignore` since they
// do not run by themselves. Each becomes a module in a folder of its own, on the
// lines that it has in its file, so that errors name the place. Blocks that make a
// file are left to `tools/docs.ts`, as they may need each other.

import { blocks, files, isScript } from "./pages.ts";

const FOLDER = ".check";

async function remove(): Promise<void> {
  try {
    await Deno.remove(FOLDER, { recursive: true });
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

await remove();
await Deno.mkdir(FOLDER);
let count = 0;
for await (const file of files()) {
  if (!/\.(md|ts)$/.test(file)) continue;
  const text = await Deno.readTextFile(file);
  for (const { language, attributes, line, code } of blocks(file, text)) {
    if (!isScript(language)) continue;
    if (!file.endsWith(".md") && !attributes.has("ignore")) continue;
    if (attributes.has("file") || attributes.has("unchecked")) continue;
    const name = `${file.replaceAll("/", "__")}__${line}.${language}`;
    // The line of the fence is free; TypeScript has no use for that comment.
    const module = ["\n".repeat(line - 1) + "// @ts-check", ...code, ""];
    await Deno.writeTextFile(`${FOLDER}/${name}`, module.join("\n"));
    count++;
  }
}
let success = true;
if (count > 0) {
  const args = ["check", "--quiet", FOLDER];
  ({ success } = await new Deno.Command("deno", { args }).spawn().status);
}
await remove();
console.log(
  `Blocks of code: ${count}, ${success ? "all well" : "type errors"}`,
);
if (!success) Deno.exit(1);
