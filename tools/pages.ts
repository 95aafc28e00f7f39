/**
 * The pages of the documentation: where they are, and which blocks of code,
 * headings and links they have.
 */

const SKIPPED = /^(\..*|node_modules)$/;

/** A fence, perhaps within a doc comment, a list or a quotation. */
const OPENING = /^(\s*(?:[*>]\s?)?)(`{3,}|~{3,})([^`]*)$/;

const ATTRIBUTE = /([^\s=]+)(?:=(?:"([^"]*)"|(\S+)))?/g;

/** A block of code between two fences. */
export interface Block {
  readonly file: string;
  /** The line of the opening fence, from 1. */
  readonly line: number;
  /** As `ts` in "ts ignore"; empty if there is none. */
  readonly language: string;
  /** What follows the language: `file=a.ts` is "file" and "a.ts". */
  readonly attributes: ReadonlyMap<string, string>;
  readonly code: readonly string[];
}

/** A link to another place, from Markdown or from HTML within it. */
export interface Link {
  readonly line: number;
  readonly target: string;
}

/** All files in a folder, and in those within it. */
export async function* files(folder = ""): AsyncGenerator<string> {
  for await (const { name, isDirectory } of Deno.readDir(folder || ".")) {
    if (isDirectory && SKIPPED.test(name)) continue;
    if (isDirectory) yield* files(`${folder}${name}/`);
    else yield folder + name;
  }
}

/** Whether Deno can check the types of what is written in a language. */
export function isScript(language: string): boolean {
  return /^[tj]sx?$/.test(language);
}

/** The blocks of code of a file. */
export function* blocks(file: string, text: string): Generator<Block> {
  const lines = text.split(/\r?\n/);
  for (let at = 0; at < lines.length; at++) {
    const opening = OPENING.exec(lines[at]!);
    if (opening === null) continue;
    const [, prefix = "", fence = "", info = ""] = opening;
    const line = at + 1;
    const code: string[] = [];
    const closed = () => lines[at]!.slice(prefix.length).trim() === fence;
    for (at++; at < lines.length && !closed(); at++) {
      code.push(lines[at]!.slice(prefix.length));
    }
    if (at === lines.length) {
      throw new SyntaxError(`Block is never closed: ${file}:${line}`);
    }
    const [language = ""] = info.trim().split(/\s/);
    const attributes = new Map<string, string>();
    const marks = info.trim().slice(language.length);
    for (const [, name = "", quoted, bare] of marks.matchAll(ATTRIBUTE)) {
      attributes.set(name, quoted ?? bare ?? "");
    }
    yield { file, line, language, attributes, code };
  }
}

/** A page without its blocks of code, with as many lines. */
function prose(text: string): string {
  let fence = "";
  return text.split(/\r?\n/).map((line) => {
    const found = OPENING.exec(line)?.[2] ?? "";
    if (fence === "" && found === "") return line;
    if (fence === "") fence = found;
    else if (found === fence) fence = "";
    return "";
  }).join("\n");
}

/** The names by which the headings of a page can be linked to, as GitHub has it. */
export function anchors(text: string): Set<string> {
  const found = new Set<string>();
  for (const [, heading = ""] of prose(text).matchAll(/^#{1,6} +(.+)$/gm)) {
    const words = heading.replaceAll(/!?\[([^\]]*)\]\([^)]*\)/g, "$1");
    const name = words.trim().toLowerCase()
      .replaceAll(/[^\p{L}\p{N}\p{M} _-]/gu, "").replaceAll(" ", "-");
    let unique = name;
    for (let n = 1; found.has(unique); n++) unique = `${name}-${n}`;
    found.add(unique);
  }
  return found;
}

/** The links of a page. */
export function* links(text: string): Generator<Link> {
  const code = /(`+)[^`]+?\1/g;
  const plain = prose(text)
    .replaceAll(code, (found) => found.replaceAll(/[^\n]/g, " "));
  const link =
    /\]\(\s*<?([^)\s>]+)>?[^)]*\)|^ {0,3}\[[^\]]+\]:\s*(\S+)|\b(?:href|src)="([^"]*)"/gm;
  for (
    const { 1: inline, 2: defined, 3: html, index } of plain.matchAll(link)
  ) {
    const target = inline ?? defined ?? html ?? "";
    yield { line: plain.slice(0, index).split("\n").length, target };
  }
}
