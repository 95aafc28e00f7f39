/**
 * One message of 1 MB over lines of 20 KB a second, with all defaults, both ways: to
 * and from our own ends, and plain peers. None is cut, and nobody comes back.
 *
 *     deno run --allow-all trials/slow_lines.ts [bytes] [bytes per second]
 */

import { ClientSocket, ServerSocket } from "@ws/events";
import { TcpProxy } from "../tests/support/tcp_proxy.ts";
import { argument, Verdict } from "./support.ts";

const SIZE = argument(0, 1_000_000);
const RATE = argument(1, 20_000);

/** Both ends of a line, and how they have ended. */
interface Line {
  readonly server: ServerSocket;
  readonly proxy: TcpProxy;
  readonly ends: string[];
}

/** How a message gets over a slow line. */
type Carry = (line: Line, message: string) => Promise<string>;

function client(line: Line, plain: boolean): ClientSocket {
  const socket = new ClientSocket({ reconnect: true, plain });
  for (const type of ["close", "disconnect"] as const) {
    socket.on(type, (code, _reason, cause) => {
      line.ends.push(`client: ${type} ${code} ${cause}`);
    });
  }
  return socket;
}

function own(way: "up" | "down", plain: boolean): Carry {
  return async (line, message) => {
    const socket = client(line, plain);
    const connected = line.server.waitFor("connect");
    await socket.connect(line.proxy.url);
    const [peer] = await connected;
    if (way === "up") {
      const received = line.server.waitFor("message");
      socket.send(message);
      return (await received)[0].content;
    }
    const received = socket.waitFor("message");
    peer.send(message);
    return (await received)[0].content;
  };
}

const CASES: Record<string, Carry> = {
  "ours, up": own("up", false),
  "ours, down": own("down", false),
  "plain, up": own("up", true),
  "plain, down": own("down", true),
};

const verdict = new Verdict();
console.log(`slow lines: ${SIZE} bytes at ${RATE} bytes a second`);
const message = "x".repeat(SIZE);
await Promise.all(
  Object.entries(CASES).map(async ([name, carry]) => {
    const server = new ServerSocket();
    await server.listen("127.0.0.1", 0);
    const proxy = new TcpProxy(server.port);
    proxy.rate = RATE;
    const ends: string[] = [];
    for (const type of ["close", "disconnect"] as const) {
      server.on(type, (_client, code, _reason, cause) => {
        ends.push(`server: ${type} ${code} ${cause}`);
      });
    }
    const start = performance.now();
    const limit = Promise.withResolvers<string>();
    const timer = setTimeout(
      () => limit.resolve("nothing"),
      10_000 + SIZE / RATE * 2_000,
    );
    const content = await Promise.race([
      carry({ server, proxy, ends }, message),
      limit.promise,
    ]);
    clearTimeout(timer);
    const seconds = (performance.now() - start) / 1_000;
    verdict.note(name, `${seconds.toFixed(1)} s`);
    verdict.claim(
      `${name}: it arrives, by the first connection, and nothing ends${
        ends.length > 0 ? ` (${ends.join(", ")})` : ""
      }`,
      content === message && ends.length === 0 && proxy.count === 1,
    );
    proxy.cut();
    await server.close();
    await proxy[Symbol.asyncDispose]();
  }),
);
verdict.finish();
Deno.exit();
