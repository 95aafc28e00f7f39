/**
 * The same story over sockets of the runtime and over sockets in memory: both sides
 * tell the same, in the same order.
 */

import { assertEquals, assertRejects } from "@std/assert";
import { deadline, delay } from "@std/async";
import {
  type ClientOptions,
  ClientSocket,
  ConnectError,
  ConnectionEndedError,
} from "../../client.ts";
import {
  type Connection,
  type ServerOptions,
  ServerSocket,
} from "../../server.ts";
import { MemoryNetwork } from "../../testing.ts";
import { lacksPermission } from "../support/permissions.ts";
import { TcpProxy } from "../support/tcp_proxy.ts";

const ignore = await lacksPermission("net");

/** What is between a server and a client. */
interface Line extends AsyncDisposable {
  readonly url: string;
  cut(): void;
  stall(): void;
}

/** What joins them: the runtime, with a proxy between them, or memory. */
const GROUNDS: Record<string, (server: ServerSocket) => Promise<Line>> = {
  async sockets(server) {
    await server.listen("127.0.0.1", 0);
    const proxy = new TcpProxy(server.port);
    return {
      url: proxy.url,
      cut: () => proxy.cut(),
      stall: () => proxy.swallow(),
      [Symbol.asyncDispose]: () => proxy[Symbol.asyncDispose](),
    };
  },
  memory(server) {
    const network = new MemoryNetwork(server);
    return Promise.resolve({
      url: network.url,
      cut: () => network.link.cut(),
      stall: () => network.link.stall(),
      [Symbol.asyncDispose]: () => network[Symbol.asyncDispose](),
    });
  },
};

/** A server, a client, and what each has told. */
class Scene {
  readonly ofServer: string[] = [];
  readonly ofClient: string[] = [];

  constructor(
    readonly server: ServerSocket,
    readonly client: ClientSocket,
    readonly line: Line,
  ) {
    server.on("connect", ({ protocol, speaksEvents }, path) => {
      this.ofServer.push(`connect ${path} "${protocol}" ${speaksEvents}`);
    });
    client.on("connect", ({ protocol, speaksEvents }, path) => {
      this.ofClient.push(`connect ${path} "${protocol}" ${speaksEvents}`);
    });
    server.on("message", ({ data }) => this.ofServer.push(told(data)));
    client.on("message", ({ data }) => this.ofClient.push(told(data)));
    for (const type of ["close", "disconnect"] as const) {
      server.on(type, (_client, code, reason, cause) => {
        this.ofServer.push(`${type} ${code} "${reason}" ${cause}`);
      });
      client.on(type, (code, reason, cause) => {
        const { wasClean } = client.disconnection ?? {};
        this.ofClient.push(`${type} ${code} "${reason}" ${cause} ${wasClean}`);
      });
    }
    server.on("refused", (_request, status, reason) => {
      this.ofServer.push(`refused ${status} ${reason}`);
    });
  }

  /** Connects, and gives the server's side. */
  async connect(path = ""): Promise<Connection> {
    const connected = this.server.waitFor("connect");
    await this.client.connect(this.line.url + path);
    const [peer] = await connected;
    return peer;
  }

  /** Connects, and tells why it cannot. */
  async fail(path = ""): Promise<void> {
    try {
      await this.client.connect(this.line.url + path);
    } catch (error) {
      this.ofClient.push(error instanceof Error ? error.name : `${error}`);
    }
  }

  /** Acts, and waits for the end on both sides. */
  async ends(type: "close" | "disconnect", act: () => unknown): Promise<void> {
    const both = [this.server.waitFor(type), this.client.waitFor(type)];
    act();
    await Promise.all(both);
  }
}

function told(data: unknown): string {
  return data instanceof Uint8Array ? `bytes ${data}` : JSON.stringify(data);
}

interface Story {
  readonly server?: ServerOptions;
  readonly client?: ClientOptions;
  run(scene: Scene): Promise<void>;
  readonly ofServer: string[];
  readonly ofClient: string[];
}

const CONNECT = 'connect / "" true';

/** How each side tells one end. */
function end(
  type: "close" | "disconnect",
  rest: string,
  ofServer: string,
  ofClient: string,
) {
  return {
    ofServer: [CONNECT, `${type} ${rest} ${ofServer}`],
    ofClient: [CONNECT, `${type} ${rest} ${ofClient} ${type === "close"}`],
  };
}

const STORIES: Record<string, Story> = {
  "a path, and a query": {
    server: { keepHeaders: ["Upgrade", "Sec-WebSocket-Protocol"] },
    async run(scene) {
      const { url, path, headers } = await scene.connect("/a/b?c=d");
      const { pathname, search } = new URL(url);
      scene.ofServer.push(`${pathname}${search} ${path}`);
      scene.ofServer.push(`${headers.get("upgrade")}`);
      const offered = `${headers.get("sec-websocket-protocol")}`;
      // A client that has not been connected before presents nothing.
      scene.ofServer.push(offered.replace(/resume\.0$/, "resume"));
    },
    ofServer: [
      'connect /a/b "" true',
      "/a/b?c=d /a/b",
      "websocket",
      "plain, events.v1-parts, events.v1, events.v1-refusal, resume",
    ],
    ofClient: ['connect /a/b "" true'],
  },
  "headers": {
    server: { keepHeaders: ["X-Token"] },
    client: { headers: { "x-token": "secret" } },
    async run(scene) {
      const { headers } = await scene.connect();
      scene.ofServer.push(`${headers.get("x-token")}`);
    },
    ofServer: [CONNECT, "secret"],
    ofClient: [CONNECT],
  },
  "messages of all kinds, both ways": {
    async run(scene) {
      const { server, client } = scene;
      const peer = await scene.connect();
      const all = [
        "text",
        "",
        "\u{1f600}\ud800",
        { a: [1] },
        bytes(),
        bytes(0),
      ];
      const limit = all.length;
      const come = Promise.all([
        server.collect("message", { limit }),
        client.collect("message", { limit }),
      ]);
      for (const data of all) {
        await peer.send(data);
        await client.send(data);
      }
      await come;
    },
    ...both([
      CONNECT,
      '"text"',
      '""',
      '"\u{1f600}\ufffd"',
      '{"a":[1]}',
      "bytes 1,2,3",
      "bytes ",
    ]),
  },
  "plain messages": {
    client: { plain: true },
    async run(scene) {
      const peer = await scene.connect();
      const got = scene.client.collect("message", { limit: 2 });
      peer.send("one");
      peer.send(bytes());
      await got;
    },
    ofServer: ['connect / "" false'],
    ofClient: ['connect / "" false', '"one"', "bytes 1,2,3"],
  },
  "a request, and its answer": {
    async run(scene) {
      scene.server.handle("sum", () => 3);
      await scene.connect();
      scene.ofClient.push(told(await scene.client.request({ type: "sum" })));
    },
    ofServer: [CONNECT],
    ofClient: [CONNECT, "3"],
  },
  "the client closes with a code and a reason": {
    async run(scene) {
      await scene.connect();
      await scene.ends("close", () => scene.client.close(4001, "bye"));
    },
    ...end("close", '4001 "bye"', "peer", "local"),
  },
  "the client closes without either": {
    async run(scene) {
      await scene.connect();
      await scene.ends("close", () => scene.client.close());
    },
    ...end("close", '1000 ""', "peer", "local"),
  },
  "the server closes with a code and a reason": {
    async run(scene) {
      const peer = await scene.connect();
      await scene.ends("close", () => peer.close(1011, "oops"));
    },
    ...end("close", '1011 "oops"', "local", "peer"),
  },
  "both close at once": {
    async run(scene) {
      const peer = await scene.connect();
      await scene.ends("close", () => {
        scene.client.close(4001, "client");
        peer.close(4000, "server");
      });
    },
    ...end("close", '4000 "server"', "local", "peer"),
  },
  "the server closes in its connect listener": {
    async run(scene) {
      scene.server.on("connect", (peer) => peer.close(4003, "not today"));
      await scene.ends("close", () => scene.client.connect(scene.line.url));
    },
    ...end("close", '4003 "not today"', "local", "peer"),
  },
  "the server closes amid a burst": {
    client: { plain: true },
    async run(scene) {
      await scene.connect();
      scene.server.on("message", ({ author }) => author.close(4000, "bye"), {
        once: true,
      });
      await scene.ends("close", () => {
        for (let i = 0; i < 100; i++) scene.client.send(i);
      });
    },
    ofServer: ['connect / "" false', "0", 'close 4000 "bye" local'],
    ofClient: ['connect / "" false', 'close 4000 "bye" peer true'],
  },
  "what was sent before a close arrives before it": {
    async run(scene) {
      const peer = await scene.connect();
      await scene.ends("close", () => {
        peer.send("last");
        peer.send("words");
        peer.close(4000);
      });
    },
    ofServer: [CONNECT, 'close 4000 "" local'],
    ofClient: [CONNECT, '"last"', '"words"', 'close 4000 "" peer true'],
  },
  "the server is closed": {
    async run(scene) {
      await scene.connect();
      await scene.ends(
        "close",
        () => scene.server.shutdown({ retryAfter: 2_000 }),
      );
    },
    ofServer: [CONNECT, 'close 1001 "retry-after=2" shutdown'],
    ofClient: [CONNECT, 'close 1001 "retry-after=2" peer true'],
  },
  "the client terminates": {
    async run(scene) {
      await scene.connect();
      await scene.ends("disconnect", () => scene.client.terminate());
    },
    ...end("disconnect", '1006 ""', "network", "local"),
  },
  "the server terminates": {
    async run(scene) {
      const peer = await scene.connect();
      await scene.ends("disconnect", () => peer.terminate());
    },
    ...end("disconnect", '1006 ""', "local", "network"),
  },
  "the line is cut": {
    async run(scene) {
      await scene.connect();
      await scene.ends("disconnect", () => scene.line.cut());
    },
    ...end("disconnect", '1006 ""', "network", "network"),
  },
  "the line is cut when the client closes": {
    async run(scene) {
      await scene.connect();
      await scene.ends("disconnect", () => {
        scene.line.stall();
        scene.client.close(4001, "bye");
        scene.line.cut();
      });
    },
    ...end("disconnect", '1006 ""', "network", "network"),
  },
  "nothing gets through": {
    server: { idleTimeout: 200 },
    client: { idleTimeout: 200 },
    async run(scene) {
      await scene.connect();
      await scene.ends("disconnect", () => scene.line.stall());
    },
    ...end("disconnect", '1006 ""', "timeout", "timeout"),
  },
  "a close that gets no answer": {
    server: { idleTimeout: 500 },
    client: { closeTimeout: 50 },
    async run(scene) {
      await scene.connect();
      await scene.ends("disconnect", () => {
        scene.line.stall();
        scene.client.close();
      });
    },
    ...end("disconnect", '1006 ""', "timeout", "timeout"),
  },
  "a subprotocol that both know": {
    server: { protocols: ["b", "a"] },
    client: { protocols: ["x", "a", "b"] },
    run: async (scene) => void await scene.connect(),
    ...both(['connect / "a" true']),
  },
  "a subprotocol without events.v1": {
    server: { protocols: ["a"], plain: true },
    client: { protocols: ["a"] },
    run: async (scene) => void await scene.connect(),
    ...both(['connect / "a" false']),
  },
  "no subprotocol in common": {
    server: { protocols: ["a"] },
    client: { protocols: ["b"], plain: true },
    run: async (scene) => void await scene.connect(),
    ...both(['connect / "" false']),
  },
  "a subprotocol that is none": {
    client: { protocols: ["a b"] },
    run: (scene) => scene.fail(),
    ofServer: [],
    ofClient: [`SyntaxError`],
  },
  "refused by authorize": {
    server: { authorize: () => new Response("no", { status: 403 }) },
    run: (scene) => scene.fail(),
    ofServer: ["refused 403 The authorization responded with 403"],
    ofClient: ["ConnectError"],
  },
  "refused by a path, and by a limit": {
    server: { paths: ["/live"], maxConnections: 0 },
    async run(scene) {
      await scene.fail("/dead");
      await scene.fail("/live");
    },
    ofServer: [
      "refused 404 There is no WebSocket endpoint at /dead",
      "refused 503 There are too many connections",
    ],
    ofClient: ["ConnectError", "ConnectError"],
  },
  "refused by an origin": {
    server: { origins: ["http://a.test"] },
    client: { headers: { origin: "http://b.test" } },
    run: (scene) => scene.fail(),
    ofServer: [
      "refused 403 Pages from http://b.test may not connect to this server",
    ],
    ofClient: ["ConnectError"],
  },
  "a client that gives up while it is being looked at": {
    server: { authorize: late },
    async run(scene) {
      const { client, line, server } = scene;
      const refused = server.waitFor("refused");
      const asked = server.waitFor("connect").catch(() => {});
      const signal = AbortSignal.timeout(20);
      await assertRejects(() => client.connect(line.url, { signal }));
      await refused;
      await server.close();
      await asked;
    },
    ofServer: ["refused 499 The client has disconnected"],
    ofClient: [],
  },
  "who it is, in the URL": {
    server: { keepHeaders: ["Authorization"] },
    async run(scene) {
      const { client, line, server } = scene;
      const connected = server.waitFor("connect");
      await client.connect(line.url.replace("//", "//a%40b:p%C3%A4ss@"));
      const [{ url, headers }] = await connected;
      scene.ofServer.push(`${headers.get("authorization")}`);
      scene.ofServer.push(`${new URL(url).username}`);
      scene.ofClient.push(`${new URL(client.connection?.url ?? "").username}`);
    },
    // btoa() of the UTF-8 of a@b:p\u00e4ss
    ofServer: [CONNECT, "Basic YUBiOnDDpHNz", ""],
    ofClient: [CONNECT, ""],
  },
  "a URL that says who it is, and a header that does": {
    server: { keepHeaders: ["Authorization"] },
    client: { headers: { authorization: "Bearer token" } },
    async run(scene) {
      const { client, line, server } = scene;
      const connected = server.waitFor("connect");
      await client.connect(line.url.replace("//", "//ada:secret@"));
      const [{ headers }] = await connected;
      scene.ofServer.push(`${headers.get("authorization")}`);
    },
    ofServer: [CONNECT, "Bearer token"],
    ofClient: [CONNECT],
  },
  "what a client is told that was refused": {
    server: { authorize: () => new Response("no", { status: 403 }) },
    async run(scene) {
      const { client, line } = scene;
      const { message, cause } = await assertRejects(
        () => client.connect(line.url),
        ConnectError,
      );
      scene.ofClient.push(message.replace(`${line.url}/`, "there"), `${cause}`);
    },
    ofServer: ["refused 403 The authorization responded with 403"],
    ofClient: [
      "Cannot connect to there: failed to connect to WebSocket: Invalid status code: 403",
      "NetworkError: failed to connect to WebSocket: Invalid status code: 403",
    ],
  },
  "a message of the largest size, and a larger one": {
    server: { maxPayload: 1_000 },
    async run(scene) {
      await scene.connect();
      scene.server.on("message", ({ size }) => scene.ofServer.push(`${size}`));
      await scene.ends("close", () => {
        scene.client.send(new Uint8Array(1_000).fill(7));
        scene.client.send("\u{1f600}".repeat(251));
      });
      scene.ofServer.splice(1, 1); // its bytes
    },
    ...end(
      "close",
      '1009 "A message may have at most 1000 bytes"',
      "limit",
      "peer",
    ),
    ofServer: [
      CONNECT,
      "1000",
      'close 1009 "A message may have at most 1000 bytes" limit',
    ],
  },
  "a frame that is too large for the runtime": {
    server: { maxPayload: 100 * 1024 ** 2 },
    client: { plain: true, maxBufferedAmount: 100 * 1024 ** 2 },
    async run(scene) {
      await scene.connect();
      await scene.ends(
        "disconnect",
        () => scene.client.send(new Uint8Array(64 * 1024 ** 2)),
      );
    },
    ofServer: ['connect / "" false', 'disconnect 1006 "" limit'],
    ofClient: ['connect / "" false', 'disconnect 1006 "" network false'],
  },
  "a request that is under way when the line is cut": {
    async run(scene) {
      const { client, line, server } = scene;
      const asked = Promise.withResolvers<void>();
      server.handle("never", () => {
        asked.resolve();
        return new Promise(() => {});
      });
      await scene.connect();
      const answer = client.request({ type: "never" });
      await asked.promise;
      await scene.ends("disconnect", () => line.cut());
      const { message } = await assertRejects(
        () => answer,
        ConnectionEndedError,
      );
      scene.ofClient.push(message.replace(/from \S+ as/, "from there as"));
    },
    ofServer: [CONNECT, 'disconnect 1006 "" network'],
    ofClient: [
      CONNECT,
      'disconnect 1006 "" network false',
      'Cannot wait any longer for a reply from there as the connection has ended: disconnect with code 1006 and reason ""',
    ],
  },
  "more than a client may say": {
    server: { messageRate: { perSecond: 1, burst: 2 } },
    client: { plain: true },
    async run(scene) {
      await scene.connect();
      await scene.ends("close", () => {
        for (let i = 0; i < 5; i++) scene.client.send(i);
      });
    },
    ofServer: [
      'connect / "" false',
      "0",
      "1",
      'close 1008 "At most 1 messages a second may be sent" limit',
    ],
    ofClient: [
      'connect / "" false',
      'close 1008 "At most 1 messages a second may be sent" peer true',
    ],
  },
};

/** Lets in, but not at once. */
async function late(): Promise<true> {
  await delay(200);
  return true;
}

/** Both sides tell the same. */
function both(all: string[]) {
  return { ofServer: all, ofClient: all };
}

function bytes(size = 3): Uint8Array {
  return new Uint8Array(size).map((_, i) => i + 1);
}

for (const [ground, join] of Object.entries(GROUNDS)) {
  for (const [name, story] of Object.entries(STORIES)) {
    Deno.test({
      name: `over ${ground}: ${name}`,
      ignore: ground === "sockets" && ignore,
      fn: async () => {
        await using server = new ServerSocket(story.server);
        await using line = await join(server);
        await using client = new ClientSocket(story.client);
        const scene = new Scene(server, client, line);
        await deadline(story.run(scene), 20_000);
        assertEquals(scene.ofServer, story.ofServer);
        assertEquals(scene.ofClient, story.ofClient);
      },
    });
  }
}
