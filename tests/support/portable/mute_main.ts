/**
 * Lets go of a server that answers nothing, in every way, as a program that then
 * ends by itself. The last argument is the server's URL. Bundled, it runs in Deno,
 * Node and Bun.
 */

import process from "node:process";
import { ClientSocket } from "../../../client.ts";

const url = process.argv.at(-1) ?? "";

/** Hears a refusal as a listener would that wants nothing of it. */
const ignored = (promise: Promise<unknown>) => promise.catch(() => {});

/** A client in the middle of a connection. */
async function connected(): Promise<ClientSocket> {
  const client = new ClientSocket({ closeTimeout: 100 });
  await client.connect(`${url}/mute`);
  return client;
}

const ways: (() => Promise<void>)[] = [
  async () => (await connected()).close(),
  async () => (await connected()).terminate(),
  async () => {
    const client = new ClientSocket({ connectTimeout: 100 });
    await ignored(client.connect(`${url}/never`));
  },
  async () => {
    const client = new ClientSocket();
    const connecting = ignored(client.connect(`${url}/never`));
    await client.close();
    await connecting;
  },
  async () => {
    const client = new ClientSocket();
    const signal = AbortSignal.timeout(50);
    await ignored(client.connect(`${url}/never`, { signal }));
  },
];

await Promise.all([...ways, ...ways, ...ways, ...ways].map((go) => go()));
console.log("done");
// Ends the program when there is nothing else that holds it.
process.stdin.once("data", () => process.stdin.destroy());
