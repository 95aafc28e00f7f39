/**
 * Walks the documentation as its reader would. Each block of code is checked or
 * run, each link leads somewhere; what is neither is a problem. CONTRIBUTING.md
 * says how blocks are marked.
 */

import {
  anchors,
  type Block,
  blocks,
  files,
  isScript,
  links,
} from "./pages.ts";
import { Terminal } from "./terminal.ts";

const ATTRIBUTES = [
  "ignore",
  "file",
  "stays",
  "empty",
  "clone",
  "output",
  "unchecked",
];

/** The commands of a block: its lines, but for comments, joined at a backslash. */
function commandsOf({ code }: Block): string[] {
  return code.join("\n").replaceAll(/\\\n\s*/g, "").split("\n")
    .filter((line) => !/^\s*(#|$)/.test(line));
}

/** One reader, who goes through one page. */
class Walk {
  readonly #root: string;
  readonly #terminal: Terminal;
  /** Scripts that were written, but not checked yet. */
  #unchecked: string[] = [];

  constructor(root: string, terminal: Terminal) {
    this.#root = root;
    this.#terminal = terminal;
  }

  /** Goes through a page, in a folder of its own. */
  static async through(file: string, all: readonly Block[]): Promise<void> {
    const root = await Deno.realPath(await Deno.makeTempDir());
    try {
      await using terminal = new Terminal(`${root}/checkout`);
      const walk = new Walk(root, terminal);
      await walk.#copy();
      for (const block of all) {
        await told(`${file}:${block.line}`, () => walk.#step(block));
      }
      await told(file, async () => {
        await walk.#check();
        await terminal.stop();
      });
    } finally {
      await Deno.remove(root, { recursive: true });
    }
  }

  /** Where a reader begins: in a checkout of the repository. */
  async #copy(): Promise<void> {
    for await (const file of files()) {
      const to = `${this.#root}/checkout/${file}`;
      await Deno.mkdir(to.replace(/[^/]*$/, ""), { recursive: true });
      await Deno.copyFile(file, to);
    }
  }

  async #step(block: Block): Promise<void> {
    const { language, attributes, code } = block;
    const file = attributes.get("file");
    if (file !== undefined) return await this.#write(file, code);
    if (language === "text") return await this.#terminal.expect(code);
    if (attributes.has("empty")) {
      this.#terminal.move(await Deno.makeTempDir({ dir: this.#root }));
    }
    await this.#check();
    if (attributes.has("clone")) {
      this.#terminal.move(`${this.#root}/checkout`);
    }
    const commands = commandsOf(block);
    if (attributes.has("stays")) await this.#terminal.start(commands);
    else await this.#terminal.run(commands);
  }

  async #write(file: string, code: readonly string[]): Promise<void> {
    const path = `${this.#terminal.folder}/${file}`;
    await Deno.writeTextFile(path, code.join("\n") + "\n");
    if (isScript(file.replace(/.*\./, ""))) this.#unchecked.push(file);
  }

  /** Checks the types of what has been written since the last time. */
  async #check(): Promise<void> {
    const scripts = this.#unchecked.splice(0);
    if (scripts.length === 0) return;
    await this.#terminal.run([`deno check ${scripts.join(" ")}`]);
  }
}

/** Does something; an error tells where. */
async function told(place: string, act: () => Promise<void>): Promise<void> {
  try {
    await act();
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error);
    throw new Error(`${place}: ${text}`, { cause: error });
  }
}

/** Why a block is not as it should be; undefined if it is. */
function problemOf({ language, attributes, code }: Block): string | undefined {
  for (const name of attributes.keys()) {
    if (!ATTRIBUTES.includes(name)) return `"${name}" is no mark of a block`;
  }
  const reason = attributes.get("unchecked");
  if (reason === "") return 'it is "unchecked", but does not say why';
  if (reason !== undefined || attributes.has("file")) return undefined;
  // Their types are checked by `tools/blocks.ts`.
  if (isScript(language) || language === "sh") return undefined;
  if (language === "text") return undefined;
  if (language === "json") {
    try {
      JSON.parse(code.join("\n"));
      return undefined;
    } catch (error) {
      return String(error);
    }
  }
  return `a block of "${language}" is neither checked nor run`;
}

/** Whether a block is something that a reader does. */
function isStep({ language, attributes }: Block): boolean {
  if (attributes.has("unchecked")) return false;
  return language === "sh" || attributes.has("file") ||
    attributes.has("output");
}

/** Why a link leads nowhere; undefined if it does, or is to another site. */
async function brokenAt(
  file: string,
  target: string,
): Promise<string | undefined> {
  if (/^[a-z][a-z+.-]*:/i.test(target)) return undefined;
  const [path = "", anchor] = decodeURI(target).split("#");
  const from = new URL(file, "file:///");
  const to = path === "" ? file : new URL(path, from).pathname.slice(1);
  try {
    const { isFile } = await Deno.stat(to || ".");
    if (anchor === undefined || !isFile || !to.endsWith(".md")) {
      return undefined;
    }
    if (anchors(await Deno.readTextFile(to)).has(anchor)) return undefined;
    return `there is no heading "${anchor}" in ${to}`;
  } catch {
    return `there is no ${to}`;
  }
}

// Pages say which ports their programs listen on: one walk at a time.
using lock = await Deno.open("/tmp/ws-events-docs.lock", {
  create: true,
  write: true,
});
await lock.lock(true);

const problems: string[] = [];
const unchecked: string[] = [];
const wanted = Deno.args;
let steps = 0;
let checked = 0;
let followed = 0;
for await (const file of files()) {
  if (!file.endsWith(".md")) continue;
  if (wanted.length > 0 && !wanted.includes(file)) continue;
  const text = await Deno.readTextFile(file);
  const all = [...blocks(file, text)];
  for (const block of all) {
    checked++;
    const problem = problemOf(block);
    if (problem) problems.push(`${file}:${block.line}: ${problem}`);
    const reason = block.attributes.get("unchecked");
    if (reason) unchecked.push(`${file}:${block.line}: ${reason}`);
  }
  for (const { line, target } of links(text)) {
    followed++;
    const broken = await brokenAt(file, target);
    if (broken) problems.push(`${file}:${line}: ${target}: ${broken}`);
  }
  const own = all.filter(isStep);
  if (own.length === 0) continue;
  steps += own.length;
  try {
    await Walk.through(file, own);
  } catch (error) {
    problems.push(error instanceof Error ? error.message : String(error));
  }
}

for (const line of unchecked) console.log(`Not checked: ${line}`);
for (const problem of problems) console.error(problem);
console.log(
  `Blocks: ${checked}, steps walked: ${steps}, links: ${followed}, ` +
    `problems: ${problems.length}`,
);
if (problems.length > 0) Deno.exit(1);
