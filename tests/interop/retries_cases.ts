/** Requests with the option `retry` between servers that share a real Redis or NATS. */

import { assertEquals, assertRejects } from "@std/assert";
import { deadline } from "@std/async";
import type { Adapter } from "../../adapter.ts";
import { nats } from "../../adapters/nats.ts";
import { redis } from "../../adapters/redis.ts";
import { ClientSocket, RequestError, ServerSocket } from "../../mod.ts";
import { MemoryNetwork } from "../../testing.ts";
import { NatsServer } from "../support/nats_servers.ts";
import { RedisServer } from "../support/redis_servers.ts";

const RETRY = { retry: true };

/** Two servers that share a broker, and a client that can be moved between them. */
class Fleet implements AsyncDisposable {
  readonly runs = new Map<string, number>();
  readonly errors: unknown[] = [];
  readonly gate = Promise.withResolvers<void>();
  readonly begun = Promise.withResolvers<void>();
  readonly first: ServerSocket;
  readonly second: ServerSocket;
  readonly network: MemoryNetwork;
  readonly client = new ClientSocket({
    reconnect: { initialDelay: 1, maxDelay: 2, minUptime: 0 },
  });

  constructor(createAdapter: () => Adapter) {
    this.first = this.#serve(createAdapter());
    this.second = this.#serve(createAdapter());
    this.network = new MemoryNetwork(this.first);
  }

  #serve(adapter: Adapter): ServerSocket {
    const server = new ServerSocket({ adapter });
    server.on("error", (error) => this.errors.push(error));
    const count = (requestId = "") =>
      this.runs.set(requestId, (this.runs.get(requestId) ?? 0) + 1);
    server.handle(({ content, requestId }) => {
      count(requestId);
      return content;
    });
    server.handle("bytes", ({ requestId }) => {
      count(requestId);
      return new Uint8Array([0, 255, 10]);
    });
    server.handle("refuse", ({ requestId }) => {
      count(requestId);
      throw new RequestError("No apples", "stock");
    });
    server.handle("wait", async ({ requestId }) => {
      count(requestId);
      this.begun.resolve();
      await this.gate.promise;
      return "waited";
    });
    return server;
  }

  async open(): Promise<void> {
    for (const server of [this.first, this.second]) {
      if (server.adapterState?.state !== "up") await server.waitFor("adapter");
    }
    await this.client.connect(this.network.url);
  }

  /** Moves the client to the second server. */
  async move(): Promise<void> {
    const connected = this.client.waitFor("connect");
    this.network.server = this.second;
    this.network.link.cut();
    await connected;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.gate.resolve();
    await this.client.close();
    await this.first.close();
    await this.second.close();
    await this.network[Symbol.asyncDispose]();
  }
}

function test(
  name: string,
  createAdapter: () => Adapter,
  fn: (fleet: Fleet) => Promise<void>,
): Promise<void> {
  return deadline(
    (async () => {
      await using fleet = new Fleet(createAdapter);
      await fleet.open();
      await fn(fleet);
    })(),
    40_000,
  ).catch((cause) => {
    throw new Error(name, { cause });
  });
}

/** Tries all that has to hold with any broker. */
async function tryAll(createAdapter: () => Adapter): Promise<void> {
  await test("an answer that was lost", createAdapter, async (fleet) => {
    const { client, network, runs } = fleet;
    for (const type of ["bytes", "refuse", "echo"]) {
      await client.request("opens the session", RETRY);
      network.link.toClient.stall();
      const before = runs.size;
      const reply = client.request({ type }, RETRY);
      while (runs.size === before) {
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
      await fleet.move();
      network.server = fleet.first;
      if (type === "bytes") {
        assertEquals(await reply, new Uint8Array([0, 255, 10]));
      } else if (type === "refuse") {
        const error = await assertRejects(() => reply, RequestError);
        assertEquals([error.message, error.code], ["No apples", "stock"]);
      } else assertEquals(await reply, { type });
      const connected = client.waitFor("connect");
      network.link.cut();
      await connected;
    }
    assertEquals([...runs.values()], Array(6).fill(1));
  });
  await test("a handler that runs elsewhere", createAdapter, async (fleet) => {
    const reply = fleet.client.request({ type: "wait" }, RETRY);
    await fleet.begun.promise;
    await fleet.move();
    await fleet.client.request("meanwhile", RETRY);
    fleet.gate.resolve();
    assertEquals(await reply, "waited");
    assertEquals([...fleet.runs.values()], [1, 1]);
    assertEquals(fleet.errors, []);
  });
  await test("many at once", createAdapter, async (fleet) => {
    const replies = Array.from(
      { length: 200 },
      (_, i) => fleet.client.request(`number ${i}`, RETRY),
    );
    await fleet.move();
    await Promise.all(replies);
    assertEquals([...fleet.runs.values()], Array(200).fill(1));
  });
}

Deno.test("redis() lets requests with retry be handled once by all servers", async () => {
  await using broker = await RedisServer.start();
  await tryAll(() => redis({ url: broker.url }));
  assertEquals(
    (await broker.cli("keys", "*requests*")).split("\n").length,
    3,
  );
});

Deno.test("redis() without the permission to store leaves requests with retry to each server", async () => {
  await using broker = await RedisServer.start();
  await broker.cli(
    ...["acl", "setuser", "app", "on", ">secret", "~*", "&*", "+@all"],
    ...["-eval", "-hmget"],
  );
  const url = `redis://app:secret@127.0.0.1:${broker.port}`;
  await test("one server", () => redis({ url }), async (fleet) => {
    assertEquals(await fleet.client.request("a", RETRY), "a");
    assertEquals(fleet.errors.length, 1);
    assertEquals([...fleet.runs.values()], [1]);
  });
});

Deno.test("nats() lets requests with retry be handled once by all servers", async () => {
  await using broker = new NatsServer();
  await broker.start(broker.jetStream);
  await tryAll(() => nats({ servers: broker.address }));
});

Deno.test("nats() without JetStream leaves requests with retry to each server", async () => {
  await using broker = await NatsServer.start();
  await test(
    "one server",
    () => nats({ servers: broker.address }),
    async (fleet) => {
      assertEquals(await fleet.client.request("a", RETRY), "a");
      const reply = fleet.client.request({ type: "wait" }, RETRY);
      await fleet.begun.promise;
      await fleet.move();
      const error = await assertRejects(() => reply, RequestError);
      assertEquals(error.code, "uncertain");
      assertEquals([...fleet.runs.values()], [1, 1]);
    },
  );
});
