/**
 * Clients that leave before they are connected, and a process without file
 * descriptors: the runtime tells nothing of the one, and stops listening at the other.
 */

import {
  assert,
  assertEquals,
  assertLess,
  assertMatch,
  assertRejects,
  assertStrictEquals,
  assertStringIncludes,
} from "@std/assert";
import { delay } from "@std/async";
import { ClientSocket, ServerSocket } from "../../mod.ts";
import { CERTIFICATE } from "../support/certificate.ts";
import type { Report } from "../support/leavers.ts";
import { BROKER_PERMISSIONS, lacksPermission } from "../support/permissions.ts";
import { lacksProgram } from "../support/programs.ts";
import { Program } from "../support/program.ts";
import { HANDSHAKE, RawPeer, request } from "../support/raw_peer.ts";

const ignore = await lacksPermission(...BROKER_PERMISSIONS) ||
  await lacksProgram("sh");

function test(name: string, fn: () => Promise<void>): void {
  Deno.test({ name, ignore, fn });
}

const WAYS = ["unix", "reset", "tls"] as const;

for (const how of WAYS) {
  for (const host of ["alone", "mounted", "aborted"]) {
    for (const authorizes of ["now", "later"]) {
      test(`a client that leaves as it is upgraded gives its place back: ${how}, ${host}, authorize answers ${authorizes}`, async () => {
        const folder = await Deno.makeTempDir();
        try {
          await using program = new Program([
            "run",
            "--allow-all",
            "tests/support/leavers.ts",
            how,
            authorizes,
            host,
            `${folder}/socket`,
          ]);
          const report: Report = JSON.parse(await program.line(""));
          assertLess(report.full, 10_000);
          assertStrictEquals(report.connects, report.ends);
          // Without a look at who is still there it is nearly all of a hundred.
          assertLess(report.descriptors, 40);
          // The runtime's own shutdown takes for ever.
          assertLess(report.shutdown, 10_000);
          assert(report.isFree);
        } finally {
          await Deno.remove(folder, { recursive: true });
        }
      });
    }
  }
}

/** Runs a program with so many file descriptors. */
function starved(count: number, ...args: string[]): Program {
  return new Program(
    [
      "-c",
      `ulimit -n ${count}; exec "$0" run --allow-all tests/support/starved.ts "$@"`,
      Deno.execPath(),
      ...args,
    ],
    { command: "sh" },
  );
}

for (const how of ["tcp", "tls", "unix", "mounted"] as const) {
  test(`ServerSocket.listen() recovers from a lack of file descriptors: ${how}`, async () => {
    const folder = await Deno.makeTempDir();
    const idle: Deno.Conn[] = [];
    try {
      const path = `${folder}/socket`;
      await using program = starved(100, how, path);
      const port = Number(await program.line("listening "));
      const connect = (): Promise<Deno.Conn> =>
        how === "unix"
          ? Deno.connect({ transport: "unix", path })
          : Deno.connect({ hostname: "127.0.0.1", port });
      using client = Deno.createHttpClient({
        caCerts: [CERTIFICATE],
        ...how === "unix" && { proxy: { transport: "unix" as const, path } },
      });
      const url = {
        tcp: `ws://127.0.0.1:${port}`,
        mounted: `ws://127.0.0.1:${port}`,
        tls: `wss://localhost:${port}`,
        unix: "ws://localhost",
      }[how];
      const open = () => {
        const socket = new WebSocket(url, { client });
        const { promise, resolve, reject } = Promise.withResolvers<WebSocket>();
        socket.onopen = () => resolve(socket);
        socket.onerror = () => reject(new Error("It was refused"));
        return promise;
      };
      const echo = (socket: WebSocket) => {
        const { promise, resolve, reject } = Promise.withResolvers<unknown>();
        socket.onmessage = ({ data }) => resolve(data);
        socket.onclose = () => reject(new Error("It has ended"));
        socket.send("still there?");
        return promise;
      };
      const end = (socket: WebSocket) => {
        const { promise, resolve } = Promise.withResolvers<void>();
        socket.onclose = () => resolve();
        socket.close();
        return promise;
      };

      const before = await open();
      let isStarved = false;
      const told = program.line("error ").then((text) => {
        isStarved = true;
        return text;
      });
      while (!isStarved) {
        if (idle.length < 150) {
          try {
            idle.push(await connect());
          } catch {
            // It does not listen, and will say so.
          }
        }
        await delay(1);
      }
      assertMatch(await told, /^listen: .*Too many open files/);
      assertStrictEquals(await echo(before), "still there?");

      for (const connection of idle.splice(0)) connection.close();
      let after: WebSocket | undefined;
      while (after === undefined) {
        after = await open().catch(() => delay(50)) ?? undefined;
      }
      assertStrictEquals(await echo(after), "still there?");
      assertStrictEquals(await echo(before), "still there?");
      if (how === "unix") {
        assertStrictEquals((await Deno.stat(path)).mode! & 0o777, 0o660);
      }
      await end(before);
      await end(after);
      await program.write("close");
      await program.line("closed");
      assertStrictEquals(await program.exit(), 0);
    } finally {
      for (const connection of idle) connection.close();
      await Deno.remove(folder, { recursive: true });
    }
  });
}

test("ServerSocket.close() ends the attempts to listen again", async () => {
  await using program = starved(100, "tcp");
  const port = Number(await program.line("listening "));
  const idle: Deno.Conn[] = [];
  let isStarved = false;
  const told = program.line("error ").then(() => isStarved = true);
  while (!isStarved) {
    if (idle.length < 150) {
      try {
        idle.push(await Deno.connect({ hostname: "127.0.0.1", port }));
      } catch {
        // It does not listen, and will say so.
      }
    }
    await delay(1);
  }
  await told;
  await program.write("close");
  await program.line("closed");
  // A timer would hold the process up.
  assertStrictEquals(await program.exit(), 0);
  for (const connection of idle) connection.close();
});

test("ServerSocket suppresses Deno's warning about request.signal", async () => {
  const { stdout, stderr, success } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "--allow-net", "tests/support/advice.ts"],
    cwd: new URL("../..", import.meta.url),
  }).output();
  const decoder = new TextDecoder();
  assert(success);
  assertEquals(
    [decoder.decode(stdout), decoder.decode(stderr)],
    ["refused 499\nupgraded\n", "a warning of the program\n"],
  );
});

test("ServerSocket.close() ends event streams and cancels their source", async () => {
  const cancelled = Promise.withResolvers<unknown>();
  const server = new ServerSocket({
    closeTimeout: 60_000,
    fallback: () =>
      new Response(
        new ReadableStream({
          start(controller) {
            controller.enqueue(new TextEncoder().encode("data: 1\n\n"));
          },
          cancel: cancelled.resolve,
        }),
        { headers: { "content-type": "text/event-stream", "x-own": "kept" } },
      ),
  });
  await server.listen("127.0.0.1", 0);
  const url = server.url.replace("ws", "http");
  const response = await fetch(url);
  assertStrictEquals(response.headers.get("x-own"), "kept");
  await server.close(); // long before the timeout
  assertStrictEquals(await response.text(), "data: 1\n\n");
  await cancelled.promise;
});

test("an event stream ends with its source or its client", async () => {
  const cancelled = Promise.withResolvers<unknown>();
  const pause = Promise.withResolvers<void>();
  await using server = new ServerSocket({
    fallback: ({ url }) => {
      const isShort = url.endsWith("/short");
      const body = new ReadableStream({
        async pull(controller) {
          controller.enqueue(new TextEncoder().encode("data: 1\n\n"));
          if (isShort) controller.close();
          else await pause.promise;
        },
        cancel: cancelled.resolve,
      });
      return new Response(body, {
        headers: { "content-type": "text/event-stream" },
      });
    },
  });
  await server.listen("127.0.0.1", 0);
  const url = server.url.replace("ws", "http");
  const short = await fetch(`${url}/short`);
  assertStrictEquals(await short.text(), "data: 1\n\n");
  const long = await fetch(`${url}/long`);
  await long.body?.cancel();
  await cancelled.promise;
  pause.resolve();
});

test("ServerSocket.close() aborts an endless response after closeTimeout", async () => {
  const server = new ServerSocket({
    closeTimeout: 50,
    fallback: () =>
      new Response(
        new ReadableStream({
          start(controller) {
            controller.enqueue(new Uint8Array(1));
          },
        }),
      ),
  });
  await server.listen("127.0.0.1", 0);
  const response = await fetch(server.url.replace("ws", "http"));
  await server.close();
  const rest = response.bytes().then(() => "ended", () => "cut");
  assertStrictEquals(await rest, "cut");
});

test("ServerSocket.close() aborts an endless refusal after closeTimeout", async () => {
  const endless = () => {
    const body = new ReadableStream({
      start: (controller) => controller.enqueue(new Uint8Array(1)),
    });
    return new Response(body, { status: 401 });
  };
  for (const authorize of [endless, () => Promise.resolve(endless())]) {
    const server = new ServerSocket({ closeTimeout: 50, authorize });
    server.on("refused", () => {});
    await server.listen("127.0.0.1", 0);
    using peer = await RawPeer.connect(server.port);
    await peer.write(request(HANDSHAKE));
    assertStringIncludes(await peer.head(), " 401 ");
    await server.close();
    const rest = new Uint8Array(100);
    while (await peer.tcp.read(rest).catch(() => null) !== null) continue;
  }
});

/** The file of a socket that nobody listens at. */
async function stale(path: string): Promise<void> {
  using _listener = Deno.listen({ transport: "unix", path: `${path}-first` });
  await Deno.rename(`${path}-first`, path);
}

async function inFolder(fn: (path: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    await fn(`${folder}/socket`);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

test("ServerSocket.listen() replaces the socket file of a killed process, and removes its own", () =>
  inFolder(async (path) => {
    await stale(path);
    const server = new ServerSocket();
    await server.listen("", 0, { path, mode: 0o622 });
    assertStrictEquals((await Deno.stat(path)).mode! & 0o777, 0o622);
    using client = Deno.createHttpClient({
      proxy: { transport: "unix", path },
    });
    const socket = new WebSocket("ws://localhost", { client });
    await new Promise((resolve) => socket.onopen = resolve);
    const ended = new Promise((resolve) => socket.onclose = resolve);
    await server.close();
    await ended;
    await assertRejects(() => Deno.lstat(path), Deno.errors.NotFound);
  }));

test("ServerSocket.listen() replaces no socket with a listener and no other file", () =>
  inFolder(async (path) => {
    await using first = new ServerSocket({ closeTimeout: 50 });
    await first.listen("", 0, { path });
    await using second = new ServerSocket();
    const refused = async () => {
      const error = await second.listen("", 0, { path }).catch((error) =>
        error
      );
      assert(error instanceof Deno.errors.AddrInUse, `${error}`);
    };
    await refused();
    using peer = await Deno.connect({ transport: "unix", path });
    await peer.write(new TextEncoder().encode(request(HANDSHAKE)));
    const head = new Uint8Array(12);
    await peer.read(head);
    assertStrictEquals(new TextDecoder().decode(head), "HTTP/1.1 101");
    await first.close();
    await Deno.writeTextFile(path, "precious");
    await refused();
    assertStrictEquals(await Deno.readTextFile(path), "precious");
    await Deno.remove(path);
    await Deno.symlink("nowhere", path);
    await refused();
    await Deno.remove(path);
    await second.listen("", 0, { path });
  }));

test("ServerSocket.listen() validates mode", () =>
  inFolder(async (path) => {
    await using server = new ServerSocket();
    const cases = [
      [{ mode: 0o600 }, TypeError, "not a Unix socket"],
      [{ path, mode: 0o1000 }, RangeError, "512"],
      [{ path, mode: -1 }, RangeError, "-1"],
      [{ path, mode: 1.5 }, RangeError, "1.5"],
    ] as const;
    for (const [options, type, text] of cases) {
      const error = await server.listen("127.0.0.1", 0, options)
        .catch((error) => error);
      assert(error instanceof type, `${error}`);
      assertStringIncludes(error.message, text);
    }
  }));

test("ServerSocket.listen() at a Unix socket rejects a concurrent call", () =>
  inFolder(async (path) => {
    await using server = new ServerSocket();
    const results = await Promise.allSettled([
      server.listen("", 0, { path }),
      server.listen("", 0, { path }),
    ]);
    assertEquals(results.map(({ status }) => status), [
      "fulfilled",
      "rejected",
    ]);
    const closed = new ServerSocket();
    const listening = closed.listen("", 0, { path: `${path}-2` });
    await closed.close();
    const error = await listening.catch((error) => error);
    assertMatch(`${error}`, /was closed/);
  }));

test("ServerSocket admits clients while others disconnect", async () => {
  await using server = new ServerSocket();
  await server.listen("127.0.0.1", 0);
  // Eight that do not open at once make the server careful.
  const peers = await Promise.all(
    Array.from({ length: 30 }, () => RawPeer.open(server.port)),
  );
  const client = new ClientSocket();
  await client.connect(server.url);
  await client.close();
  for (const peer of peers) peer.close();
});
