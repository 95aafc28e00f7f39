/**
 * What docs/limits.md says of the runtime. A Deno that can do more fails here, and
 * then that page has to be mended.
 */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { deadline } from "@std/async";
import { createServer } from "node:http";
import { Socket } from "node:net";
import { ServerSocket } from "../../server.ts";
import { CERTIFICATE, KEY } from "../support/certificate.ts";
import { lacksPermission } from "../support/permissions.ts";
import {
  closeFrame,
  frame,
  HANDSHAKE,
  RawPeer,
  request,
} from "../support/raw_peer.ts";

const ignore = await lacksPermission("net");

function test(name: string, fn: () => Promise<void>): void {
  Deno.test({ name, ignore, fn });
}

test("runtime: offered compression is not negotiated", async () => {
  await using server = new ServerSocket();
  await server.listen("127.0.0.1", 0);
  using peer = await RawPeer.connect(server.port);
  const offer = { "Sec-WebSocket-Extensions": "permessage-deflate" };
  await peer.write(request({ ...HANDSHAKE, ...offer }));
  const head = await peer.head();
  assertMatch(head, /^HTTP\/1\.1 101 /);
  assertEquals(/extensions/i.test(head), false);
});

test("runtime: a fragmented message is reported when complete", async () => {
  await using server = new ServerSocket({ maxPayload: 1024 });
  await server.listen("127.0.0.1", 0);
  using peer = await RawPeer.open(server.port);
  const piece = "x".repeat(1024);
  await peer.write(frame(1, piece, { fin: false }));
  for (let i = 0; i < 7; i++) await peer.write(frame(0, piece, { fin: false }));
  // It is answered in turn: the server has read eight times what it allows.
  await peer.write(frame(9, "still there?"));
  const pong = await peer.receive();
  assertEquals(pong?.opcode, 10);
  assertEquals(server.clients.size, 1);
  await peer.write(frame(0, piece));
  assertMatch(await peer.end(), /^1009 /);
});

Deno.test("runtime: a WebSocket has no control frames, no backpressure and no terminate", () => {
  const names = [
    ...["ping", "pong", "onping", "onpong"],
    ...["pause", "resume", "ondrain"],
    ...["terminate", "destroy"],
  ];
  assertEquals(names.filter((name) => name in WebSocket.prototype), []);
});

test("runtime: HTTP/2 is supported without WebSockets", async () => {
  await using server = new ServerSocket();
  await server.listen("localhost", 0, { cert: CERTIFICATE, key: KEY });
  using tls = await Deno.connectTls({
    hostname: "localhost",
    port: server.port,
    caCerts: [CERTIFICATE],
    alpnProtocols: ["h2"],
  });
  assertEquals((await tls.handshake()).alpnProtocol, "h2");
  // The preface, and empty SETTINGS.
  const hello = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
  await tls.write(new TextEncoder().encode(hello));
  const head = await read(tls, 9);
  assertEquals(head[3], 4, "The first frame is no SETTINGS");
  const [, high = 0, low = 0] = head;
  const settings = new DataView((await read(tls, high << 8 | low)).buffer);
  const names: number[] = [];
  for (let at = 0; at < settings.byteLength; at += 6) {
    names.push(settings.getUint16(at));
  }
  assert(names.length > 0);
  // 8 is SETTINGS_ENABLE_CONNECT_PROTOCOL (RFC 8441).
  assertEquals(names.includes(8), false);
});

test("runtime: the status of a refusal over TLS is not revealed", async () => {
  await using server = new ServerSocket({ paths: ["/live"] });
  await server.listen("localhost", 0, { cert: CERTIFICATE, key: KEY });
  const refused = server.waitFor("refused");
  using client = Deno.createHttpClient({ caCerts: [CERTIFICATE] });
  const socket = new WebSocket(`${server.url}/nope`, { client });
  const message = await new Promise<string>((resolve) => {
    socket.onerror = (event) => {
      if (event instanceof ErrorEvent) resolve(event.message);
    };
  });
  assertEquals((await refused)[1], 404);
  // Deno asks once more by HTTP/2, and tells what comes of that.
  assertMatch(message, /^((?!404).)*$/);
});

test("runtime: node:http never forgets a connection that was upgraded", async () => {
  const http = createServer();
  const ended = Promise.withResolvers<void>();
  http.on("upgrade", (incoming, socket, head) => {
    assert(socket instanceof Socket);
    socket.pause(); // or what comes next may be lost
    const request = new Request("http://localhost/", {
      headers: Object.entries(incoming.headersDistinct)
        .map(([name, values = []]) => [name, values.join(", ")]),
    });
    const { socket: upgraded } = Deno.upgradeWebSocket(request, {
      socket,
      head,
    });
    upgraded.onmessage = ({ data }) => upgraded.send(data);
    upgraded.onclose = () => {
      socket.destroy();
      ended.resolve();
    };
  });
  await new Promise<void>((resolve) => http.listen(0, "127.0.0.1", resolve));
  const address = http.address();
  assert(address !== null && typeof address !== "string");
  using peer = await RawPeer.open(address.port);
  await peer.write(frame(1, "echo"), closeFrame(1000));
  assertMatch(await peer.end(), /^1000 /);
  await ended.promise;
  const count = await new Promise((resolve) =>
    http.getConnections((_error, count) => resolve(count))
  );
  // So that `http.close()` never calls back, and memory grows.
  assertEquals(count, 1);
  http.close();
});

test("runtime: a private method makes the idle timer, at each message and pong", async () => {
  const calls: string[] = [];
  let heard = Promise.withResolvers<void>();
  await using server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen: () => {} },
    (request) => {
      const { socket, response } = Deno.upgradeWebSocket(request);
      const keys = [
        ...Object.getOwnPropertySymbols(socket),
        ...Object.getOwnPropertySymbols(WebSocket.prototype),
      ];
      const named = (name: string) =>
        keys.find(({ description }) => description === name) ?? "missing";
      const method = named("[[serverHandleIdleTimeout]]");
      assertEquals(Reflect.get(socket, named("[[idleTimeout]]")), 30);
      assertEquals(Reflect.get(socket, named("[[idleTimeoutTimeout]]")), null);
      assertEquals(typeof Reflect.get(socket, method), "function");
      let last = "open";
      socket.onmessage = ({ data }) => last = data;
      Reflect.set(socket, method, () => {
        calls.push(last); // what came before
        heard.resolve();
      });
      return response;
    },
  );
  // If this fails, core/runtime/keepalive.ts leaves it all to the runtime.
  using peer = await RawPeer.open(server.addr.port);
  for (const sent of [frame(1, "text"), frame(10), frame(2, "bytes")]) {
    await deadline(heard.promise, 60_000);
    heard = Promise.withResolvers();
    await peer.write(sent);
  }
  await deadline(heard.promise, 60_000);
  assertEquals(calls, ["open", "open", "text", "text"]);
});

/** So many bytes. */
async function read(from: Deno.TlsConn, length: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(length);
  for (let at = 0; at < length;) {
    const count = await deadline(from.read(bytes.subarray(at)), 60_000);
    if (count === null) throw new Error("It ended half way");
    at += count;
  }
  return bytes;
}
