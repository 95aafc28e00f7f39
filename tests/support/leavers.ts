/**
 * A server, and clients that leave as soon as they have sent their handshake, in one
 * process, which may keep what the runtime does not give back. It writes down what
 * became of them as JSON.
 */

import { delay } from "@std/async";
import { ServerSocket } from "../../mod.ts";
import { CERTIFICATE, KEY } from "./certificate.ts";
import { HANDSHAKE, request } from "./raw_peer.ts";

/** What became of the clients. */
export interface Report {
  /** How long all places were taken, in milliseconds. */
  readonly full: number;
  /** How many descriptors are left behind by the clients after them. */
  readonly descriptors: number;
  readonly connects: number;
  readonly ends: number;
  /** How many were refused as they had gone. */
  readonly gone: number;
  /** How long the shutdown took, in milliseconds. */
  readonly shutdown: number;
  /** What else was listening; the port, or the file, is free after that. */
  readonly isFree: boolean;
}

const [how, authorizes, host, path = ""] = Deno.args;
const PLACES = 10;
const LATER = 100;
const tls = { cert: CERTIFICATE, key: KEY };
const handshake = new TextEncoder().encode(request(HANDSHAKE));
const page = new TextEncoder().encode("GET / HTTP/1.1\r\nHost: x\r\n\r\n");

const server = new ServerSocket({
  maxConnections: PLACES,
  closeTimeout: 60_000,
  fallback: () => new Response("page"),
  authorize: () => authorizes === "later" ? Promise.resolve(true) : true,
});
let connects = 0, ends = 0, gone = 0;
server.on("connect", () => connects++);
server.on("close", () => ends++);
server.on("disconnect", () => ends++);
server.on("refused", (_request, status) => {
  if (status === 499) gone++;
});

const address = { hostname: "127.0.0.1", port: 0 };
let port = 0;
let close = () => server.close();
if (host === "mounted" || host === "aborted") {
  const options = how === "unix"
    ? { path }
    : { ...address, ...how === "tls" ? tls : {} };
  const controller = new AbortController();
  const { signal } = controller;
  const http = Deno.serve(
    { ...options, signal, onListen() {} },
    (request, info) => server.fetch(request, info),
  );
  if (http.addr.transport === "tcp") port = http.addr.port;
  close = async () => { // as docs/mounting.md has it
    await server.close();
    if (host === "mounted") {
      await Promise.race([http.shutdown(), delay(1_000)]);
    } else {
      controller.abort();
      await http.finished;
    }
  };
} else {
  await server.listen(
    address.hostname,
    0,
    {
      unix: { path },
      tls,
      reset: {},
    }[how ?? ""],
  );
  port = server.port;
}

function connect(): Promise<Deno.Conn> {
  if (how === "unix") return Deno.connect({ transport: "unix", path });
  if (how !== "tls") return Deno.connect({ ...address, port });
  return Deno.connectTls({
    hostname: "localhost",
    port,
    caCerts: [CERTIFICATE],
  });
}

async function leave(): Promise<void> {
  const connection = await connect();
  if (how === "reset") {
    // A connection that is closed before all was read is reset.
    await connection.write(page);
    await connection.read(new Uint8Array(1));
  }
  await connection.write(handshake);
  connection.close();
}

async function isAdmitted(): Promise<boolean> {
  using connection = await connect();
  await connection.write(handshake);
  const head = new Uint8Array(12);
  await connection.read(head);
  return new TextDecoder().decode(head) === "HTTP/1.1 101";
}

const descriptors = () => [...Deno.readDirSync("/proc/self/fd")].length;

await Promise.all(Array.from({ length: PLACES }, leave));
const start = performance.now();
while (!await isAdmitted()) await delay(50);
const full = performance.now() - start;
const before = descriptors();
for (let i = 0; i < LATER; i++) await leave();
await delay(500);
const left = descriptors() - before;
const closing = performance.now();
await close();
const shutdown = performance.now() - closing;
let isFree = true;
try {
  if (how === "unix") isFree = !Deno.statSync(path).isSocket;
  else Deno.listen({ ...address, port }).close();
} catch (error) {
  isFree = error instanceof Deno.errors.NotFound;
}
const report: Report = {
  full,
  descriptors: left,
  connects,
  ends,
  gone,
  shutdown,
  isFree,
};
console.log(JSON.stringify(report));
Deno.exit();
