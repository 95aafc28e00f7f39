/**
 * What must and what must not compile. Each `@ts-expect-error` is an error of
 * its own if the line below it does compile; nothing here runs but the imports.
 */

import { assertType, type IsExact } from "@std/testing/types";
import {
  type ClientOptions,
  ClientSocket,
  type Connection,
  type Message,
  type Sendable,
  ServerSocket,
  type StandardSchema,
} from "../../mod.ts";
import { type Pair, pair } from "../../testing.ts";

interface Move {
  x: number;
  y?: number;
}

interface Board {
  moves: Move[];
}

type Game = { incoming: Move; outgoing: Board };

/** Compiles its argument, and leaves it at that. */
function compiles(_: () => unknown): void {}

Deno.test("types: event names and listeners of a server", () => {
  const server = new ServerSocket();
  compiles(() => {
    server.on("ready", () => {});
    server.on("connect", (client, path) => client.send(path.length));
    server.on(
      "message",
      ({ data }) => assertType<IsExact<typeof data, unknown>>(true),
    );
    server.on("close", (client, code, reason, cause) => {
      assertType<IsExact<typeof client, Connection>>(true);
      assertType<IsExact<typeof code, number>>(true);
      assertType<IsExact<typeof reason, string>>(true);
      assertType<IsExact<typeof cause, "peer">>(false);
    });
    for (const type of ["close", "disconnect"] as const) {
      server.on(type, (client, code) => client.id + code);
    }
    // @ts-expect-error a misspelt name
    server.on("conect", () => {});
    // @ts-expect-error a misspelt name
    server.once("mesage", () => {});
    // @ts-expect-error a misspelt name
    server.off("closed", () => {});
    // @ts-expect-error a misspelt name
    server.waitFor("discconect");
    // @ts-expect-error a misspelt name
    server.collect("messages");
    // @ts-expect-error a misspelt name
    server.events("connection");
    // @ts-expect-error a misspelt name
    server.addEventListener("conect", () => {});
    // @ts-expect-error no such argument
    server.on("ready", (client: Connection) => client);
    // @ts-expect-error the client comes first
    server.on("close", (code: number) => code);
    // @ts-expect-error the path is a string
    server.on("connect", (_client, path: number) => path);
    // @ts-expect-error not a listener
    server.on("message", "listener");
    // @ts-expect-error no such option
    server.on("message", () => {}, { twice: true });
    // @ts-expect-error a filter answers yes or no
    server.waitFor("message", { filter: () => "yes" });
  });
});

Deno.test("types: event names and listeners of a client and a connection", () => {
  const client = new ClientSocket();
  compiles(() => {
    client.on("connect", (connection) => connection.send(1));
    client.on("close", (code, reason) => code + reason.length);
    client.addEventListener("close", (event) => event.code + event.reason);
    client.connection?.on("message", (message) => message.reply(1));
    client.on("reconnecting", (attempt, delay, error) => {
      assertType<IsExact<typeof attempt, number>>(true);
      assertType<IsExact<typeof delay, number>>(true);
      assertType<IsExact<typeof error, unknown>>(true);
    });
    client.addEventListener("giveup", (event) => event.error);
    // @ts-expect-error no such event
    client.on("reconect", () => {});
    // @ts-expect-error a connection does not come back
    client.connection?.on("reconnecting", () => {});
    client.connect(() => Promise.resolve(new URL("ws://localhost")));
    // @ts-expect-error no URL
    client.connect(() => 1);
    new ClientSocket({ protocols: () => ["a"], headers: () => [["a", "b"]] });
    const late = () => Promise.resolve(true);
    new ClientSocket({ reconnect: { shouldReconnect: late } });
    // @ts-expect-error only servers are ready
    client.on("ready", () => {});
    // @ts-expect-error the code comes first
    client.on("close", (client: ClientSocket) => client);
    // @ts-expect-error a connection does not connect
    client.connection?.on("connect", () => {});
    // @ts-expect-error no such property
    client.addEventListener("message", (event) => event.data);
  });
});

Deno.test("types: what can be sent", () => {
  const client = new ClientSocket();
  class Point {
    constructor(readonly x: number) {}
  }
  compiles(() => {
    const move: Move = { x: 1 };
    const all: Sendable[] = [
      "",
      0,
      true,
      null,
      {},
      [],
      { a: { b: [1, "2", null] } },
      move,
      [move],
      new Point(1),
      new Date(),
      new Uint8Array(),
      new ArrayBuffer(1),
      new DataView(new ArrayBuffer(1)),
      new Blob(),
      { bind: "0.0.0.0", then: "what" },
    ];
    client.send(all);
    // @ts-expect-error JSON cannot hold undefined
    client.send(undefined);
    // @ts-expect-error nor a function
    client.send(() => {});
    // @ts-expect-error nor a class
    client.send(Point);
    // @ts-expect-error nor a bigint
    client.send(1n);
    // @ts-expect-error nor a symbol
    client.send(Symbol("s"));
    // @ts-expect-error a promise that was not awaited
    client.send(Promise.resolve(1));
    // @ts-expect-error nothing at all
    client.send();
  });
});

Deno.test("types: messages of an application", () => {
  const server = new ServerSocket<Game>();
  const client = new ClientSocket<{ incoming: Board; outgoing: Move }>();
  compiles(() => {
    server.on("message", (message) => {
      assertType<IsExact<typeof message.data, Move>>(true);
      message.reply({ moves: [message.data] });
      message.author.send({ moves: [] });
      // @ts-expect-error no board
      message.reply({ x: 1 });
      // @ts-expect-error no board
      message.author.send("text");
      // @ts-expect-error no such property
      message.data.z;
    });
    server.on("connect", (client) => {
      client.on("message", ({ data }) => data.x);
      server.send(client, { moves: [] });
      // @ts-expect-error no board
      server.send(client, {});
    });
    server.addEventListener("message", ({ message }) => message.data.x);
    client.on("message", ({ data }) => data.moves[0]?.y);
    client.send({ x: 1 });
    // @ts-expect-error no move
    client.send({ y: 1 });
    // @ts-expect-error no such property of a move
    client.send({ x: 1, z: 1 });
  });
});

Deno.test("types: only incoming, only outgoing", () => {
  const reader = new ClientSocket<{ incoming: Board }>();
  const writer = new ClientSocket<{ outgoing: Move }>();
  compiles(() => {
    reader.send("anything that can be sent");
    reader.on(
      "message",
      ({ data }) => assertType<IsExact<typeof data, Board>>(true),
    );
    writer.on(
      "message",
      ({ data }) => assertType<IsExact<typeof data, unknown>>(true),
    );
    // @ts-expect-error no move
    writer.send("text");
    // @ts-expect-error no such types
    new ClientSocket<{ incomming: Board }>();
  });
});

Deno.test("types: subclasses override with the same arguments", () => {
  class Good extends ServerSocket<Game> {
    protected override async onMessage(
      message: Message<Move, Board, Connection<Game>>,
    ): Promise<void> {
      await message.reply({ moves: [message.data] });
    }
  }
  class Bad extends ServerSocket {
    // @ts-expect-error the client comes first
    protected override onClose(_code: number): void {}
    // @ts-expect-error no such method to override
    protected override onConect(): void {}
  }
  compiles(() => [new Good(), new Bad()]);
});

Deno.test("types: sockets are EventTargets", () => {
  const targets: EventTarget[] = [new ServerSocket(), new ClientSocket()];
  compiles(() => targets);
});

Deno.test("types: the context is what authorize returns", () => {
  interface User {
    name: string;
  }
  const server = new ServerSocket<{ context: User }>({
    authorize: () => ({ name: "ada" }),
  });
  compiles(() => {
    server.on("connect", ({ context }) => {
      assertType<IsExact<typeof context, User>>(true);
    });
    server.on("message", ({ author }) => author.context.name);
    new ServerSocket<{ context: User }>({
      authorize: async ({ headers }, { remoteAddress, path }) => {
        await Promise.resolve();
        if (headers.has(path)) return new Response(null, { status: 401 });
        return { name: remoteAddress };
      },
    });
    // @ts-expect-error not the context
    new ServerSocket<{ context: User }>({ authorize: () => 1 });
    new ServerSocket<{ context: User }>({
      // @ts-expect-error not the context
      authorize: () => Promise.resolve(1),
    });
    new ServerSocket().on("connect", ({ context }) => {
      assertType<IsExact<typeof context, unknown>>(true);
    });
  });
});

Deno.test("types: options of send and close", () => {
  const server = new ServerSocket();
  compiles(() => {
    server.on("connect", (client) => {
      client.send("x", { overflow: "latest", key: "x" });
      // @ts-expect-error no such policy
      client.send("x", { overflow: "oldest" });
      client.on("drain", () => client.bufferedAmount);
      // @ts-expect-error a client drains, a server does not
      server.on("drain", () => {});
    });
    server.shutdown({ drain: { batch: 1, every: 1 }, retryAfter: 1_000 });
    // @ts-expect-error half of it
    server.shutdown({ drain: { batch: 1 } });
    server.on("refused", (request, status, reason, remoteAddress) => {
      assertType<IsExact<typeof request, Request>>(true);
      assertType<IsExact<typeof status, number>>(true);
      return reason + remoteAddress;
    });
  });
});

type Question =
  | { type: "sum"; numbers: number[] }
  | { type: "name" };

Deno.test("types: requests, their handlers, and messages of one kind", () => {
  const server = new ServerSocket<{ incoming: Question; reply: number }>();
  const client = new ClientSocket<{ outgoing: Question; reply: string }>();
  compiles(async () => {
    server.handle("sum", ({ data, author }) => {
      assertType<IsExact<typeof data.numbers, number[]>>(true);
      return author.id;
    });
    server.handle("name", async () => await Promise.resolve({ a: 1 }));
    server.handle(({ data }) => data.type);
    server.handle("sum", () => {});
    // @ts-expect-error no such kind
    server.handle("product", () => 1);
    // @ts-expect-error not what that kind has
    server.handle("name", ({ data }) => data.numbers);
    // @ts-expect-error what cannot be sent
    server.handle("name", () => () => 1);
    server.on("message:sum", ({ data }) => data.numbers.length);
    // @ts-expect-error no such kind
    server.on("message:product", () => {});
    // @ts-expect-error not what that kind has
    client.request({ type: "sum" });
    const answer = await client.request({ type: "name" }, { timeout: 1 });
    assertType<IsExact<typeof answer, string>>(true);
    server.on("connect", async (one) => {
      const answer = await one.request("x");
      assertType<IsExact<typeof answer, number>>(true);
      one.on("message:sum", ({ data }) => data.numbers.length);
      for await (const { data } of one.messages()) {
        assertType<IsExact<typeof data, Question>>(true);
        if (data.type === "sum") data.numbers.length;
      }
    });
    const untyped = new ServerSocket();
    untyped.handle("any", ({ data }) => data.type);
    untyped.on("message:any", ({ data }) => {
      assertType<IsExact<typeof data.type, string>>(true);
    });
    const unknown = await new ClientSocket().request(1);
    assertType<IsExact<typeof unknown, unknown>>(true);
    server.on("message", (message) => {
      assertType<IsExact<typeof message.isRequest, boolean>>(true);
      // A discriminated union narrows where it stands.
      if (message.data.type === "sum") message.data.numbers.length;
    });
  });
});

Deno.test("types: options of codecs and schemas", () => {
  compiles(() => {
    new ServerSocket({ plain: true, concurrency: 1, onInvalid: "close" });
    // @ts-expect-error no such word
    new ServerSocket({ onInvalid: "ignore" });
    // @ts-expect-error a codec has a name
    new ClientSocket({ codec: { encode: String, decode: String } });
    const options: ClientOptions = { concurrency: 2 };
    new ClientSocket(options);
    class Own extends ClientSocket<{ incoming: Move }> {
      constructor(options: ClientOptions<{ incoming: Move }>) {
        super(options);
      }
    }
    new Own({ plain: true });
  });
});

Deno.test("types: pair() infers types from its options", () => {
  const schema: StandardSchema<Move> = {
    "~standard": {
      version: 1,
      vendor: "test",
      validate: () => ({ value: { x: 1 } }),
    },
  };
  compiles(async () => {
    const { server, client } = await pair({ server: { schema } });
    server.on("message", ({ data }) => {
      assertType<IsExact<typeof data, Move>>(true);
    });
    client.on("message", ({ data }) => {
      assertType<IsExact<typeof data, unknown>>(true);
    });
    const game = await pair<Game, { outgoing: Move }>();
    game.server.send({ moves: [] });
    // @ts-expect-error no board
    game.server.send("text");
    // @ts-expect-error no move
    game.client.send("text");
    const either: Pair = await pair();
    either.client.send("anything that can be sent");
  });
});
