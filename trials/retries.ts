/**
 * Requests with the option `retry` to two servers that share Redis. Again and again all
 * connections are cut, and one of the servers is killed by SIGKILL and started again. No
 * request may be handled twice, and none may be answered that was not handled.
 *
 *     deno run --allow-all trials/retries.ts [kills] [clients]
 */

import { delay } from "@std/async";
import { RequestError } from "@ws/events";
import { ClientSocket } from "@ws/events/client";
import { freePort } from "../tests/support/daemon.ts";
import { Program } from "../tests/support/program.ts";
import { RedisServer } from "../tests/support/redis_servers.ts";
import { TcpProxy } from "../tests/support/tcp_proxy.ts";
import { argument, Verdict } from "./support.ts";

/** How many requests of a client wait for an answer at once. */
const AT_ONCE = 4;

/** How often the connections are cut before a server is killed. */
const CUTS_PER_KILL = 3;

const kills = argument(0, 25);
const clientCount = argument(1, 10);

const file = await Deno.makeTempFile();
await using broker = await RedisServer.start();

/** A server that is killed, and the way to it. */
class Victim implements AsyncDisposable {
  readonly #port = freePort();
  readonly proxy = new TcpProxy(this.#port);
  #program: Program | undefined;

  async start(): Promise<void> {
    this.#program = new Program([
      "run",
      "--allow-all",
      "trials/retries_server.ts",
      broker.url,
      `${this.#port}`,
      file,
    ]);
    await this.#program.line("ready");
  }

  async kill(): Promise<void> {
    await this.#program?.[Symbol.asyncDispose]();
    this.#program = undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
    await this.proxy[Symbol.asyncDispose]();
  }
}

await using first = new Victim();
await using second = new Victim();
const victims = [first, second];
await Promise.all(victims.map((victim) => victim.start()));

const answered: string[] = [];
const failures: unknown[] = [];
let requests = 0;
let uncertain = 0;
let longest = 0;
let reconnects = 0;
let isOver = false;

/** Asks until all kills are over. */
async function ask(client: ClientSocket): Promise<void> {
  while (!isOver) {
    const id = `request ${++requests}`;
    const start = performance.now();
    try {
      const reply = await client.request(id, { retry: true });
      if (reply === id) answered.push(id);
      else failures.push(reply);
    } catch (error) {
      const code = error instanceof RequestError ? error.code : undefined;
      if (code === "uncertain") uncertain++;
      else failures.push(error);
    }
    longest = Math.max(longest, performance.now() - start);
  }
}

let attempts = 0;
const clients = Array.from({ length: clientCount }, () => {
  const client = new ClientSocket({
    reconnect: { initialDelay: 20, maxDelay: 200, minUptime: 0 },
  });
  client.on("reconnecting", () => reconnects++);
  return client;
});
await Promise.all(
  clients.map((client) =>
    client.connect(() => (attempts++ % 2 === 0 ? first : second).proxy.url)
  ),
);
const asking = Promise.all(
  clients.flatMap((client) =>
    Array.from({ length: AT_ONCE }, () => ask(client))
  ),
);

for (let kill = 0; kill < kills; kill++) {
  for (let cut = 0; cut < CUTS_PER_KILL; cut++) {
    await delay(150 + Math.random() * 100);
    for (const { proxy } of victims) proxy.cut();
  }
  await delay(150 + Math.random() * 250); // so that it has clients again
  const victim = kill % 2 === 0 ? first : second;
  await victim.kill();
  await victim.start();
}
isOver = true;
await asking;
for (const client of clients) await client.close();

const runs = new Map<string, number>();
for (const line of (await Deno.readTextFile(file)).trim().split("\n")) {
  runs.set(line, (runs.get(line) ?? 0) + 1);
}
await Deno.remove(file);
const twice = [...runs.values()].filter((count) => count > 1).length;
const lost = answered.filter((id) => !runs.has(id)).length;

const verdict = new Verdict();
console.log(
  `${clientCount} clients, ${kills} kills, ${reconnects} lost connections`,
);
verdict.note("requests", requests);
verdict.note("answered", answered.length);
verdict.note("uncertain", uncertain);
verdict.note("handled twice", twice);
verdict.note("answered but not handled", lost);
verdict.note("longest wait", `${Math.round(longest)} ms`);
if (failures.length > 0) verdict.note("failures", failures.slice(0, 5));
verdict.claim("requests were answered", answered.length > 0);
verdict.claim("connections were lost", reconnects > 0);
verdict.claim("no request was handled twice", twice === 0);
verdict.claim("no request was answered that was not handled", lost === 0);
verdict.claim(
  "each request was answered, or is uncertain",
  answered.length + uncertain === requests,
);
verdict.claim(
  "no more requests are uncertain than were under way at the kills",
  uncertain <= kills * clientCount * AT_ONCE,
);
verdict.finish();
