// Checks the types of the TypeScript blocks that `deno check --doc` passes over:
// all those in Markdown, and those in doc comments that are marked `ignore`
// since they do not run by themselves. Each becomes a module in a folder of its
// own, on the lines that it has in its file, so that errors name the place.

const FOLDER = ".check";
const SKIPPED = /^(\..*|node_modules)$/;
const OPENING = /^(\s*(?:\*\s?)?)(`{3,})(ts|typescript)\b(.*)$/;

interface Block {
  readonly file: string;
  /** The line of the opening fence, from 1. */
  readonly line: number;
  readonly code: readonly string[];
  readonly ignored: boolean;
}

function* blocks(file: string, text: string): Generator<Block> {
  const lines = text.split(/\r?\n/);
  for (let at = 0; at < lines.length; at++) {
    const opening = OPENING.exec(lines[at]!);
    if (opening === null) continue;
    const [, prefix = "", fence = "", , attributes = ""] = opening;
    const line = at + 1;
    const code: string[] = [];
    const closed = () => lines[at]!.slice(prefix.length).trim() === fence;
    for (at++; at < lines.length && !closed(); at++) {
      code.push(lines[at]!.slice(prefix.length));
    }
    if (at === lines.length) {
      throw new SyntaxError(`Block is never closed: ${file}:${line}`);
    }
    yield { file, line, code, ignored: /\bignore\b/.test(attributes) };
  }
}

async function* files(folder = ""): AsyncGenerator<string> {
  for await (const { name, isDirectory } of Deno.readDir(folder || ".")) {
    if (isDirectory && SKIPPED.test(name)) continue;
    if (isDirectory) yield* files(`${folder}${name}/`);
    else if (/\.(md|ts)$/.test(name)) yield folder + name;
  }
}

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
  for (const block of blocks(file, await Deno.readTextFile(file))) {
    if (!file.endsWith(".md") && !block.ignored) continue;
    const name = `${file.replaceAll("/", "__")}__${block.line}.ts`;
    const code = "\n".repeat(block.line) + block.code.join("\n") + "\n";
    await Deno.writeTextFile(`${FOLDER}/${name}`, code);
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
