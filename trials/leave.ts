/**
 * Clients that leave at every byte of the handshake and of a first frame: by FIN, by
 * RST, over TLS and over a Unix socket.
 *
 *     deno run --allow-all --v8-flags=--expose-gc trials/leave.ts [rounds]
 */

import { delay } from "@std/async";
import { ServerSocket } from "@ws/events/server";
import { CERTIFICATE, KEY } from "../tests/support/certificate.ts";
import { frame, HANDSHAKE, request } from "../tests/support/raw_peer.ts";
import { argument, mib, times, Verdict } from "./support.ts";

const ROUNDS = argument(0, 5);
const PLACES = 50;
const AT_ONCE = 8;

/** A short run is one of the tests, on a machine that is busy. */
const isFull = ROUNDS >= 5;

/** Longer than a lost upgrade is waited for. */
const SETTLED = 3_000;

const handshake = new TextEncoder().encode(request(HANDSHAKE));
const page = new TextEncoder().encode("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
const all = Uint8Array.from([...handshake, ...frame(1, "hello")]);
const verdict = new Verdict();
const folder = await Deno.makeTempDir();
const path = `${folder}/socket`;

const descriptors = () => [...Deno.readDirSync("/proc/self/fd")].length;

function rss(): number {
  Reflect.get(globalThis, "gc")?.();
  return Deno.memoryUsage().rss / 1024 / 1024;
}

for (const how of ["fin", "reset", "tls", "unix"] as const) {
  const server = new ServerSocket({
    maxConnections: PLACES,
    closeTimeout: 60_000,
    fallback: () => new Response("page"),
  });
  let connects = 0, ends = 0;
  server.on("connect", () => connects++);
  server.on("close", () => ends++);
  server.on("disconnect", () => ends++);
  const refusals: Record<string, number> = {};
  server.on("refused", (_request, status) => {
    refusals[status] = (refusals[status] ?? 0) + 1;
  });
  await server.listen(
    "127.0.0.1",
    0,
    {
      fin: {},
      reset: {},
      tls: { cert: CERTIFICATE, key: KEY },
      unix: { path },
    }[how],
  );
  const { port } = server;

  const connect = (): Promise<Deno.Conn> => {
    if (how === "unix") return Deno.connect({ transport: "unix", path });
    const hostname = "127.0.0.1";
    return how === "tls"
      ? Deno.connectTls({ hostname, port, caCerts: [CERTIFICATE] })
      : Deno.connect({ hostname, port });
  };
  const leave = async (i: number) => {
    const connection = await connect();
    try {
      if (how === "reset") {
        // A connection that is closed before all was read is reset.
        await connection.write(page);
        await connection.read(new Uint8Array(1));
      }
      const length = i % (all.length + 1);
      if (length > 0) await connection.write(all.subarray(0, length));
    } finally {
      connection.close();
    }
  };

  await times(all.length + 1, AT_ONCE, leave); // what any server holds in the end
  await delay(SETTLED);
  const before = { descriptors: descriptors(), rss: rss() };
  const count = ROUNDS * (all.length + 1);
  await times(count, AT_ONCE, leave);
  await delay(SETTLED);
  const left = descriptors() - before.descriptors;

  console.log(`${how}: ${count} clients that leave`);
  verdict.note("connects", connects);
  verdict.note("refusals", refusals);
  verdict.note("descriptors left behind", left);
  verdict.note("memory before", mib(before.rss));
  verdict.note("memory after", mib(rss()));
  verdict.claim(
    "each connect has had its one end",
    connects === ends && server.clients.size === 0,
  );
  if (isFull) {
    verdict.claim("hardly a descriptor is left behind", left <= 0.05 * count);
  }

  const peers = await Promise.all(Array.from({ length: PLACES }, connect));
  const heads = await Promise.all(peers.map(async (peer) => {
    await peer.write(handshake);
    const head = new Uint8Array(12);
    await peer.read(head);
    return new TextDecoder().decode(head);
  }));
  verdict.claim(
    "all places are there again",
    heads.every((head) => head === "HTTP/1.1 101"),
  );
  for (const peer of peers) peer.close();
  const start = performance.now();
  await server.shutdown();
  const took = performance.now() - start;
  verdict.note("shutdown in ms", took.toFixed(0));
  if (isFull) verdict.claim("it shuts down within a second", took < 1_000);
}
await Deno.remove(folder, { recursive: true });
verdict.finish();
// What was lost keeps the process from ending by itself.
Deno.exit();
