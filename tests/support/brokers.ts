/** Real brokers, each a process of its own on a free port of loopback. */

import { broadcastChannel } from "../../adapters/broadcast_channel.ts";
import { nats } from "../../adapters/nats.ts";
import { redis } from "../../adapters/redis.ts";
import type { Adapter } from "../../mod.ts";
import { findInSbin, freePort, listening } from "./daemon.ts";
import { lackingOf } from "./programs.ts";

/** Something that adapters meet at. */
export interface Broker extends AsyncDisposable {
  /** Where it is, for adapters in other processes; empty if none can reach it. */
  readonly address: string;
  /** The number of its process; 0 if it has none of its own. */
  readonly pid: number;
  /** Makes an adapter for one more server. */
  adapter(): Adapter;
  /** Ends the broker at once, as `kill -9` does. */
  kill(): Promise<void>;
  /** Starts it again, on the same port. */
  start(): Promise<void>;
  /** Lets it do nothing for a while, without a word, or go on. */
  pause(isPaused: boolean): void;
  /** Forgets what it has kept; it must not run. */
  forget(): Promise<void>;
}

/** A program that listens at a port. */
class BrokerProcess implements AsyncDisposable {
  readonly port = freePort();
  /** Where it keeps what has to be there when it comes back. */
  readonly #folder = Deno.makeTempDirSync();
  readonly #command: (port: number, folder: string) => [string, ...string[]];
  #process: Deno.ChildProcess | undefined;

  constructor(
    command: (port: number, folder: string) => [string, ...string[]],
  ) {
    this.#command = command;
  }

  get pid(): number {
    return this.#process?.pid ?? 0;
  }

  async start(): Promise<void> {
    const [program, ...args] = this.#command(this.port, this.#folder);
    this.#process = new Deno.Command(program, {
      args,
      stdin: "null",
      stdout: "null",
      stderr: "null",
    }).spawn();
    await listening(this.#process, this.port);
  }

  async kill(): Promise<void> {
    this.#process?.kill("SIGKILL");
    await this.#process?.status;
    this.#process = undefined;
  }

  /** Lets it do nothing for a while, without a word, or go on. */
  pause(isPaused: boolean): void {
    this.#process?.kill(isPaused ? "SIGSTOP" : "SIGCONT");
  }

  /** Forgets what it has kept; it must not run. */
  async forget(): Promise<void> {
    await Deno.remove(this.#folder, { recursive: true });
    await Deno.mkdir(this.#folder);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
    await Deno.remove(this.#folder, { recursive: true });
  }
}

/** The brokers that a machine lacks, by the adapter's name. */
export const missingBrokers: ReadonlySet<string> = await lackingOf({
  redis: "redis-server",
  nats: "nats-server",
});

let count = 0;

/** The brokers of all adapters, by the adapter's name; started when they are made. */
export const brokers: Readonly<Record<string, () => Promise<Broker>>> = {
  "broadcast-channel": () => {
    const name = `test ${count++}`;
    const done = () => Promise.resolve();
    return Promise.resolve({
      address: "",
      pid: 0,
      adapter: () => broadcastChannel({ name }),
      kill: done,
      start: done,
      pause: () => {},
      forget: done,
      [Symbol.asyncDispose]: done,
    });
  },
  async redis() {
    const engine = new BrokerProcess((port, folder) => [
      "redis-server",
      ...["--port", `${port}`, "--bind", "127.0.0.1"],
      ...[
        "--save",
        "",
        "--appendonly",
        "yes",
        "--appendfsync",
        "always",
        "--dir",
        folder,
      ],
    ]);
    const address = `redis://127.0.0.1:${engine.port}`;
    return await started(engine, address, adapters.redis);
  },
  async nats() {
    const program = await findInSbin("nats-server");
    const engine = new BrokerProcess((port, folder) => [
      program,
      ...["-a", "127.0.0.1", "-p", `${port}`, "-js", "-sd", folder],
    ]);
    return await started(engine, `127.0.0.1:${engine.port}`, adapters.nats);
  },
};

/** Makes adapters for a broker at an address. */
export const adapters = {
  redis: (url: string): Adapter => redis({ url }),
  nats: (servers: string): Adapter => nats({ servers }),
};

async function started(
  engine: BrokerProcess,
  address: string,
  adapter: (address: string) => Adapter,
): Promise<Broker> {
  await engine.start();
  return {
    address,
    get pid() {
      return engine.pid;
    },
    adapter: () => adapter(address),
    kill: () => engine.kill(),
    start: () => engine.start(),
    pause: (isPaused) => engine.pause(isPaused),
    forget: () => engine.forget(),
    [Symbol.asyncDispose]: () => engine[Symbol.asyncDispose](),
  };
}
