/**
 * What runtimes say of a handshake that failed: Deno 2.9.6, Node 22.23, Bun 1.4.5,
 * workerd 1.2026 and the package `ws` 8.23,
 * each as measured with `tests/support/raw_server.ts` and with closed ports.
 */

import { assert, assertEquals, assertStrictEquals } from "@std/assert";
import {
  destroyTcp,
  explainFailure,
  reportConnect,
} from "../../../core/runtime/connect_failure.ts";
import type { ConnectReport } from "../../../core/runtime/connect_report.ts";

const DENO = "NetworkError: failed to connect to WebSocket: ";
const BUN = "WebSocket connection to 'ws://127.0.0.1:1/' failed: ";
const NODE = "Received network error or non-101 status code.";

const WORKERD =
  "Failed to establish the WebSocket connection: expected server to reply with HTTP status code 101 (switching protocols), but received ";

const withCode = (message: string, code: string): Error =>
  Object.assign(new Error(message), { code });

type Case = [told: string, cause: unknown, report?: ConnectReport];

const CASES: readonly Case[] = [
  ["refused 401", `${DENO}Invalid status code: 401`],
  ["refused 302", `${DENO}Invalid status code: 302`],
  ["refused 503", new Error(`${BUN}Expected 101 status code: 503`)],
  ["refused 403", NODE, { status: 403 }],
  ["unreachable", `${DENO}tcp connect error`],
  ["unreachable", `${DENO}dns error`],
  ["unreachable", "NetworkError: Connection refused"], // a MemoryNetwork
  ["unreachable", withCode(`${BUN}Failed to connect`, "ECONNREFUSED")],
  ["unreachable", withCode(`${BUN}Failed to connect`, "ENOTFOUND")],
  ["unreachable", NODE, {
    error: withCode("getaddrinfo ENOTFOUND nosuch.invalid", "ENOTFOUND"),
  }],
  ["unreachable", NODE, {
    error: withCode("connect ECONNREFUSED 127.0.0.1:9", "ECONNREFUSED"),
  }],
  ["unreachable cut off", `${DENO}connection closed before message completed`],
  ["unreachable cut off", `${DENO}connection error`],
  ["unreachable cut off", withCode(`${BUN}Connection ended`, "ECONNRESET")],
  ["unreachable cut off", NODE, {
    error: withCode("other side closed", "UND_ERR_SOCKET"),
  }],
  ["unreachable cut off", NODE, {
    error: withCode("read ECONNRESET", "ECONNRESET"),
  }],
  ["tls", `${DENO}invalid peer certificate: UnknownIssuer`],
  ["tls", `${DENO}received fatal alert: NoApplicationProtocol`],
  ["tls", `${DENO}received corrupt message of type InvalidContentType`],
  [
    "tls",
    withCode(
      `${BUN}TLS handshake failed: self signed certificate`,
      "DEPTH_ZERO_SELF_SIGNED_CERT",
    ),
  ],
  ["tls", NODE, {
    error: withCode("self-signed certificate", "DEPTH_ZERO_SELF_SIGNED_CERT"),
  }],
  ["timeout", NODE, {
    error: withCode("Connect Timeout Error", "UND_ERR_CONNECT_TIMEOUT"),
  }],
  ["protocol", `${DENO}invalid HTTP version parsed`],
  ["protocol", withCode(`${BUN}Invalid response`, "HPE_INVALID_CONSTANT")],
  ["protocol", NODE, {
    error: withCode("Response does not match", "HPE_INVALID_CONSTANT"),
  }],
  ["protocol", new Error(`${BUN}Mismatch websocket accept header`)],
  ["protocol", "Incorrect hash received in Sec-WebSocket-Accept header."],
  ["protocol", "Sec-WebSocket-Extensions header does not match."],
  ["protocol subprotocol", "Server did not respond with sent protocols."],
  ["protocol subprotocol", "Protocol was not set in the opening handshake."],
  ["protocol subprotocol", new Error(`${BUN}Missing client protocol`)],
  ["protocol subprotocol", new Error(`${BUN}Mismatch client protocol`)],
  ["protocol", `${DENO}Invalid connection header`],
  ["protocol", `${DENO}message head is too large`],
  ["protocol", 'Server did not set Connection header to "upgrade".'],
  ["protocol", NODE, {
    error: withCode("Headers Overflow Error", "UND_ERR_HEADERS_OVERFLOW"),
  }],
  ["protocol", new Error(`${BUN}Missing upgrade header`)],
  // The package `ws`.
  ["refused 401", new Error("Unexpected server response: 401")],
  ["unreachable", withCode("connect ECONNREFUSED ::1:9", "ECONNREFUSED")],
  ["unreachable cut off", withCode("socket hang up", "ECONNRESET")],
  ["protocol", new Error("Invalid Upgrade header")],
  ["protocol subprotocol", new Error("Server sent no subprotocol")],
  ["protocol subprotocol", new Error("Server sent an invalid subprotocol")],
  // workerd.
  ["refused 401", new TypeError(`${WORKERD}401 instead.`)],
  ["unreachable", new Error("Network connection lost.")],
  ["unknown", NODE],
  ["unknown", undefined],
  ["unknown", ""],
];

Deno.test("explainFailure() says what each runtime means", () => {
  for (const [told, cause, report] of CASES) {
    const { kind = "unknown", status, isCutOff, isSubprotocol } =
      explainFailure(cause, report);
    const words = [
      kind,
      status,
      isCutOff && "cut off",
      isSubprotocol && "subprotocol",
    ];
    assertStrictEquals(words.filter(Boolean).join(" "), told, String(cause));
  }
});

Deno.test("explainFailure() shows what Node has published, where its own text says nothing", () => {
  const error = withCode("connect ECONNREFUSED 127.0.0.1:9", "ECONNREFUSED");
  assertStrictEquals(explainFailure(NODE, { error }).message, error.message);
  assertStrictEquals(
    explainFailure(NODE, { status: 401 }).message,
    "the server answered with status 401",
  );
  assertStrictEquals(explainFailure(NODE).message, NODE);
});

Deno.test("explainFailure() takes the URL out of errors of Bun", () => {
  const cause = withCode(
    "WebSocket connection to 'ws://a.test/?token=it's secret' failed: Failed to connect",
    "ECONNREFUSED",
  );
  const { kind, message } = explainFailure(cause);
  assertEquals([kind, message], ["unreachable", "Failed to connect"]);
  assert(!Deno.inspect(cause).includes("secret"));
  assert(!String(cause.stack).includes("secret"));
});

Deno.test("reportConnect() only opens the socket in a runtime other than Node", () => {
  const opened = {};
  const { socket, report, stop } = reportConnect(() => opened);
  assertStrictEquals(socket, opened);
  assertEquals(report, {});
  assertStrictEquals(destroyTcp(socket), false);
  stop();
});
