/**
 * Tries the servers at the URLs of the last argument, as a program, and prints what
 * came of it as JSON. Bundled, it runs in Deno, Node and Bun.
 */

import process from "node:process";
import { tryServers } from "./cases.ts";

const urls: string[] = JSON.parse(process.argv.at(-1) ?? "[]");
console.log(JSON.stringify(await tryServers(urls)));
process.exit();
