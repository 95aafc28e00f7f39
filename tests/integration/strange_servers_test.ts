/**
 * Servers that break the rules, or are no WebSocket servers at all: each `connect()`
 * settles, and each `connect` has one end.
 */

import { assertEquals, assertStrictEquals } from "@std/assert";
import { ConnectError } from "../../mod.ts";
import {
  ClientSocket,
  isPageClient,
  testClients,
} from "../support/client_classes.ts";
import { lacksPermission } from "../support/permissions.ts";
import { frame, RawPeer } from "../support/raw_peer.ts";
import { acceptOf } from "../support/raw_server.ts";

/** What a server writes before it hangs up, or only waits. */
interface Strange {
  readonly answer: (upgrade: string) => readonly (string | Uint8Array)[];
  /** Whether it waits for the client to leave. */
  readonly waits?: boolean;
  /** How `connect()` fails, or what is told. */
  readonly told: string;
}

const plain = (opcode: number, payload: number[] | string, rsv = 0) =>
  frame(opcode, payload, { masked: false, rsv });
const status = (line: string) => () => [
  `HTTP/1.1 ${line}\r\nContent-Length: 0\r\n\r\n`,
];
/** What a page is told, as nothing says why a handshake or a connection has failed. */
function toldToPage(told: string): string {
  return /^(unreachable|refused|protocol)/.test(told)
    ? ""
    : told.replace("disconnect 1006 protocol", "disconnect 1006 network");
}

const connected = (end: string) => `connect, ${end}, end`;
const protocol = connected("disconnect 1006 protocol");

const SERVERS: Readonly<Record<string, Strange>> = {
  "says nothing": { answer: () => [], waits: true, told: "timeout" },
  "hangs up": { answer: () => [], told: "unreachable" },
  "speaks something else": {
    answer: () => ["SSH-2.0-OpenSSH_9.2\r\n"],
    waits: true,
    told: "protocol",
  },
  "speaks HTTP/2": {
    answer: () => [Uint8Array.of(0, 0, 0, 4, 0, 0, 0, 0, 0)],
    waits: true,
    told: "protocol",
  },
  "never ends its headers": {
    answer: (upgrade) => [upgrade.trimEnd() + "\r\n" + "X: y\r\n".repeat(1e5)],
    waits: true,
    told: "protocol",
  },
  "leaves Upgrade out": {
    answer: (upgrade) => [upgrade.replace("Upgrade: websocket\r\n", "")],
    waits: true,
    told: "protocol",
  },
  "redirects": { answer: status("302 Found"), told: "refused 302" },
  "is a web server": {
    answer: () => [
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    ],
    waits: true,
    told: "refused 200",
  },
  "answers with 408": {
    answer: status("408 Timeout"),
    told: "refused 408",
  },
  "hangs up once it is open": {
    answer: (upgrade) => [upgrade],
    told: connected("disconnect 1006 network"),
  },
  "hangs up within a frame": {
    answer: (upgrade) => [upgrade, Uint8Array.of(0x81, 50, 104)],
    told: connected("disconnect 1006 network"),
  },
  "closes before anything": {
    answer: (upgrade) => [upgrade, plain(8, [15, 161])],
    told: connected("close 4001 peer"),
  },
  "closes without a code": {
    answer: (upgrade) => [upgrade, plain(8, [])],
    told: connected("close 1005 peer"),
  },
  "sends a hint first": {
    answer: (upgrade) => [
      "HTTP/1.1 103 Early Hints\r\n\r\n",
      upgrade,
      plain(8, [15, 161]),
    ],
    told: connected("close 4001 peer"),
  },
  "closes with 1005": {
    answer: (upgrade) => [upgrade, plain(8, [3, 237])],
    waits: true,
    told: protocol,
  },
  "closes with half a code": {
    answer: (upgrade) => [upgrade, plain(8, [3])],
    waits: true,
    told: protocol,
  },
  "sets a reserved bit": {
    answer: (upgrade) => [upgrade, plain(1, "hi", 0x40)],
    waits: true,
    told: protocol,
  },
  "sends invalid UTF-8": {
    answer: (upgrade) => [upgrade, plain(1, [255, 254])],
    waits: true,
    told: protocol,
  },
  "continues nothing": {
    answer: (upgrade) => [upgrade, plain(0, "hi")],
    waits: true,
    told: protocol,
  },
};

const ignore = await lacksPermission("net");

for (const [name, { answer, waits, told }] of Object.entries(SERVERS)) {
  testClients(`ClientSocket survives a server that ${name}`, {
    ignore,
    fn: async () => {
      const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
      const serving = serve(listener, answer, waits === true);
      const expected = isPageClient() ? toldToPage(told) : told;
      const client = new ClientSocket({ connectTimeout: 2_000, plain: true });
      const heard: string[] = [];
      client.on("connect", () => heard.push("connect"));
      for (const type of ["close", "disconnect"] as const) {
        client.on(type, (code, _reason, cause) => {
          heard.push(`${type} ${code} ${cause}`);
        });
      }
      const ended = new Promise<void>((resolve) => {
        client.on("end", () => {
          heard.push("end");
          resolve();
        });
      });
      try {
        await client.connect(`ws://127.0.0.1:${listener.addr.port}`);
        await ended;
        assertStrictEquals(heard.join(", "), expected);
      } catch (error) {
        if (!(error instanceof ConnectError)) throw error;
        const { kind, status } = error;
        assertStrictEquals([kind, status].join(" ").trim(), expected);
        assertEquals(heard, []);
      }
      assertStrictEquals(client.state, "closed");
      listener.close();
      await serving;
    },
  });
}

/** Answers all that come, until the listener is closed. */
async function serve(
  listener: Deno.TcpListener,
  answer: Strange["answer"],
  waits: boolean,
): Promise<void> {
  for await (const tcp of listener) {
    using peer = new RawPeer(tcp);
    const head = await peer.head();
    const key = /^sec-websocket-key: *(\S+)/im.exec(head)?.[1] ?? "";
    const upgrade = [
      "HTTP/1.1 101 Switching Protocols",
      "Upgrade: websocket",
      "Connection: Upgrade",
      `Sec-WebSocket-Accept: ${await acceptOf(key)}`,
      "",
      "",
    ].join("\r\n");
    await peer.write(...answer(upgrade));
    if (waits) await peer.end();
  }
}
