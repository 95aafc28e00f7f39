/** Real brokers, each a process of its own on a free port of loopback. */

import { broadcastChannel } from "../../adapters/broadcast_channel.ts";
import { nats } from "../../adapters/nats.ts";
import { redis } from "../../adapters/redis.ts";
import type { Adapter } from "../../mod.ts";

/** Something that adapters meet at. */
export interface Broker extends AsyncDisposable {
  /** Makes an adapter for one more server. */
  adapter(): Adapter;
  /** Ends the broker at once, as `kill -9` does. */
  kill(): Promise<void>;
  /** Starts it again, on the same port. */
  start(): Promise<void>;
}

/** Takes a port that nobody listens at. */
function freePort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return listener.addr.port;
}

/** A program that listens at a port. */
class Engine implements AsyncDisposable {
  readonly port = freePort();
  readonly #command: (port: number) => [program: string, ...args: string[]];
  #process: Deno.ChildProcess | undefined;

  constructor(command: (port: number) => [string, ...string[]]) {
    this.#command = command;
  }

  async start(): Promise<void> {
    const [program, ...args] = this.#command(this.port);
    this.#process = new Deno.Command(program, {
      args,
      stdin: "null",
      stdout: "null",
      stderr: "null",
    }).spawn();
    while (!await isListening(this.port)) await pause();
  }

  async kill(): Promise<void> {
    this.#process?.kill("SIGKILL");
    await this.#process?.status;
    this.#process = undefined;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.kill();
  }
}

/** Debian puts it where not everybody looks. */
async function findNats(): Promise<string> {
  try {
    await Deno.stat("/usr/sbin/nats-server");
    return "/usr/sbin/nats-server";
  } catch {
    return "nats-server";
  }
}

async function isListening(port: number): Promise<boolean> {
  try {
    const tcp = await Deno.connect({ hostname: "127.0.0.1", port });
    tcp.close();
    return true;
  } catch {
    return false;
  }
}

/** A program says nowhere else that it listens. */
function pause(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 10));
}

let count = 0;

/** The brokers of all adapters, by the adapter's name; started when they are made. */
export const brokers: Readonly<Record<string, () => Promise<Broker>>> = {
  "broadcast-channel": () => {
    const name = `test ${count++}`;
    const done = () => Promise.resolve();
    return Promise.resolve({
      adapter: () => broadcastChannel({ name }),
      kill: done,
      start: done,
      [Symbol.asyncDispose]: done,
    });
  },
  async redis() {
    const engine = new Engine((port) => [
      "redis-server",
      ...["--port", `${port}`, "--bind", "127.0.0.1"],
      ...["--save", "", "--appendonly", "no"],
    ]);
    await engine.start();
    return {
      adapter: () => redis({ url: `redis://127.0.0.1:${engine.port}` }),
      kill: () => engine.kill(),
      start: () => engine.start(),
      [Symbol.asyncDispose]: () => engine.kill(),
    };
  },
  async nats() {
    const program = await findNats();
    const engine = new Engine((port) => [
      program,
      ...["-a", "127.0.0.1", "-p", `${port}`],
    ]);
    await engine.start();
    return {
      adapter: () => nats({ servers: `127.0.0.1:${engine.port}` }),
      kill: () => engine.kill(),
      start: () => engine.start(),
      [Symbol.asyncDispose]: () => engine.kill(),
    };
  },
};
