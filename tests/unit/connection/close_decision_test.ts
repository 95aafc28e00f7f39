import "../../../core/features/full.ts";
import { assert, assertEquals, assertStrictEquals } from "@std/assert";
import {
  CONNECTING_STATE,
  type ConnectionSignal,
  transition,
} from "../../../core/connection/close_decision.ts";
import type { Side } from "../../../core/runtime/websocket.ts";

const ROLES: readonly Side[] = ["server", "client"];

const open: ConnectionSignal = { type: "open" };
const close = {
  type: "close",
  code: 4000,
  reason: "bye",
  cause: "local",
  isFlushed: true,
  isHosted: false,
  speaksEvents: true,
} satisfies ConnectionSignal;
const sent: ConnectionSignal = { type: "sent" };
const timeout: ConnectionSignal = { type: "timeout" };
const terminate: ConnectionSignal = { type: "terminate", cause: "local" };
const error = (message: string): ConnectionSignal => ({
  type: "error",
  message,
});
const closed = (
  wasClean: boolean,
  code: number,
  reason = "",
): ConnectionSignal => ({
  type: "closed",
  wasClean,
  code,
  reason,
});

function run(side: Side, ...signals: ConnectionSignal[]) {
  return signals.reduce(
    (state, s) => transition(state, s, side),
    CONNECTING_STATE,
  );
}

/** The end as `type code "reason" cause`, or the phase. */
function told(side: Side, ...signals: ConnectionSignal[]): string {
  const state = run(side, open, ...signals);
  if (state.phase !== "ended") return state.phase;
  const { type, code, reason, cause } = state.end;
  return `${type} ${code} "${reason}" ${cause}`;
}

const BOTH: [string, ConnectionSignal[], string][] = [
  ["the peer closes", [closed(true, 1000)], 'close 1000 "" peer'],
  [
    "the peer closes with a code and a reason",
    [closed(true, 4001, "bye")],
    'close 4001 "bye" peer',
  ],
  ["the peer closes with 1011", [closed(true, 1011)], 'close 1011 "" peer'],
  [
    "the peer closes without a code",
    [closed(true, 1005)],
    'close 1005 "" peer',
  ],
  [
    "the connection is lost, as Deno tells it",
    [error("Unexpected EOF"), closed(false, 0)],
    'disconnect 1006 "" network',
  ],
  [
    "the connection is lost, as browsers tell it",
    [error(""), closed(false, 1006)],
    'disconnect 1006 "" network',
  ],
  [
    "the connection is lost without an error",
    [closed(false, 0)],
    'disconnect 1006 "" network',
  ],
  [
    "an unclean end without a code",
    [closed(false, 1005)],
    'disconnect 1006 "" network',
  ],
  [
    "an unclean end with the peer's code, as browsers may tell it",
    [error(""), closed(false, 1002, "why")],
    'disconnect 1002 "why" network',
  ],
  [
    "the peer breaks the protocol",
    [error("Invalid UTF-8"), closed(false, 0)],
    'disconnect 1006 "" protocol',
  ],
  [
    "a frame is too large for the runtime",
    [error("Frame too large"), closed(false, 0)],
    'disconnect 1006 "" limit',
  ],
  [
    "the peer does not answer a ping",
    [
      error("No response from ping frame."),
      closed(false, 1001, "No response from ping frame."),
    ],
    'disconnect 1006 "" timeout',
  ],
  [
    "the runtime then tells a second, clean end",
    [
      error("No response from ping frame."),
      closed(false, 1001, "No response from ping frame."),
      closed(true, 1005),
    ],
    'disconnect 1006 "" timeout',
  ],
  [
    "the peer answers this side's close",
    [close, sent, closed(true, 4000, "bye")],
    'close 4000 "bye" local',
  ],
  [
    "the peer answers with the code alone",
    [close, sent, closed(true, 4000)],
    'close 4000 "bye" local',
  ],
  [
    "the peer's answer is told before the runtime's timers",
    [close, closed(true, 4000, "bye")],
    'close 4000 "bye" local',
  ],
  [
    "the peer had closed before this side's close could leave",
    [close, closed(true, 4001, "first")],
    'close 4001 "first" peer',
  ],
  [
    "the peer had closed so without a code",
    [close, closed(true, 1005)],
    'close 1005 "" peer',
  ],
  ["the peer does not answer yet", [close, sent], "closing"],
  [
    "the peer never answers",
    [close, sent, timeout],
    'disconnect 1006 "" timeout',
  ],
  [
    "the peer vanishes instead of answering, which Deno calls clean",
    [close, sent, closed(true, 1005)],
    'disconnect 1006 "" network',
  ],
  [
    "the connection is lost amid the closing handshake",
    [close, sent, error("Broken pipe"), closed(false, 0)],
    'disconnect 1006 "" network',
  ],
  [
    "the answer comes too late",
    [close, sent, timeout, closed(true, 4000, "bye")],
    'disconnect 1006 "" timeout',
  ],
  ["this side lets go", [terminate], 'disconnect 1006 "" local'],
  [
    "this side closes, then lets go",
    [close, terminate],
    'disconnect 1006 "" local',
  ],
  [
    "this side closes twice",
    [close, { ...close, code: 4999 }, sent, closed(true, 4000, "bye")],
    'close 4000 "bye" local',
  ],
  ["a timeout without a close", [timeout], "open"],
  ["a second open", [open], "open"],
  ["an open that comes late", [close, open], "closing"],
  ["a stray sent", [sent], "open"],
];

for (const role of ROLES) {
  for (const [name, signals, end] of BOTH) {
    Deno.test(`transition() on a ${role}: ${name}`, () => {
      assertStrictEquals(told(role, ...signals), end);
    });
  }
}

Deno.test("transition() reports the server's code if both sides close at once", () => {
  assertStrictEquals(
    told("server", close, sent, closed(true, 4001, "other")),
    'close 4000 "bye" local',
  );
  assertStrictEquals(
    told("client", close, sent, closed(true, 4001, "other")),
    'close 4001 "other" peer',
  );
  assertStrictEquals(
    told("client", close, sent, closed(true, 4001)),
    'close 4001 "" peer',
  );
  assertStrictEquals(
    told("client", close, sent, closed(true, 4000, "other")),
    'close 4000 "other" peer',
  );
});

Deno.test("transition() on a client reports its own close if the server does not support events.v1", () => {
  const plain = { ...close, speaksEvents: false };
  for (const answer of [closed(true, 1000), closed(true, 4001, "other")]) {
    assertStrictEquals(
      told("client", plain, sent, answer),
      'close 4000 "bye" local',
    );
    // But not if the server had closed before: then the client's close was not sent.
    const { code, reason } = { reason: "", code: 0, ...answer };
    assertStrictEquals(
      told("client", plain, answer),
      `close ${code} "${reason}" peer`,
    );
  }
  assertStrictEquals(
    told("client", plain, sent, closed(false, 1006)),
    'disconnect 1006 "" network',
  );
});

const EMPTY = {
  type: "closed",
  wasClean: true,
  code: 1005,
  reason: "",
} satisfies ConnectionSignal;

Deno.test("transition() takes an empty close frame for an answer if the runtime proves it", () => {
  for (const role of ROLES) {
    assertStrictEquals(
      told(role, close, sent, { ...EMPTY, isProven: true }),
      'close 4000 "bye" local',
    );
    assertStrictEquals(
      told(role, close, sent, { ...EMPTY, isProven: false }),
      'disconnect 1006 "" network',
    );
  }
});

Deno.test("transition() on a server reports a close if reading stops after the close frame", () => {
  for (const signals of [[close], [close, sent]]) {
    assertStrictEquals(
      told("server", ...signals, closed(false, 0)),
      'close 4000 "bye" local',
    );
    // Only a server's socket does so.
    assertStrictEquals(
      told("client", ...signals, closed(false, 0)),
      'disconnect 1006 "" network',
    );
    assertStrictEquals(
      told("server", ...signals, closed(false, 1006)),
      'disconnect 1006 "" network',
    );
  }
  // The frame may not have left.
  assertStrictEquals(
    told("server", { ...close, isFlushed: false }, closed(false, 0)),
    'disconnect 1006 "" network',
  );
});

Deno.test("transition() considers an error before the close", () => {
  assertStrictEquals(
    told("server", error("Broken pipe"), close, sent, closed(false, 0)),
    'disconnect 1006 "" network',
  );
});

Deno.test("transition() marks the end of a connection that was never open", () => {
  for (const side of ROLES) {
    for (const last of [closed(false, 0), terminate]) {
      const state = run(side, error("refused"), last);
      assertStrictEquals(state.phase === "ended" && state.opened, false);
    }
    assertStrictEquals(run(side, close, timeout, sent).phase, "connecting");
  }
  const opened = run("client", open, terminate);
  assertStrictEquals(opened.phase === "ended" && opened.opened, true);
});

Deno.test("transition() never leaves the ended state", () => {
  for (const side of ROLES) {
    const state = run(side, open, closed(true, 1000));
    const signals: ConnectionSignal[] = [
      open,
      close,
      sent,
      error("x"),
      closed(false, 0),
      timeout,
      terminate,
    ];
    for (const signal of signals) {
      assertStrictEquals(transition(state, signal, side), state);
    }
  }
});

Deno.test("transition() ends a failed attempt that has only an error", () => {
  // So does a server whose upgrade fails, and so does a client in Node.
  for (const side of ROLES) {
    const state = run(side, error("upgrade failed"));
    assert(state.phase === "ended" && !state.opened);
  }
});

Deno.test("transition() on a client reports a close for any code of the server", () => {
  // Chromium calls that unclean, but tells of no error.
  const flood = closed(false, 1008, "too many");
  assertStrictEquals(told("client", flood), 'close 1008 "too many" peer');
  assertStrictEquals(
    told("client", close, sent, flood),
    'close 1008 "too many" peer',
  );
  assertStrictEquals(
    told("client", close, sent, closed(false, 4000, "bye")),
    'close 4000 "bye" local',
  );
  // Codes that no frame carries are nobody's goodbye.
  for (const code of [0, 1005, 1006]) {
    assertStrictEquals(
      told("client", closed(false, code)),
      'disconnect 1006 "" network',
    );
  }
  // Nor is anything after an error, or what Deno tells a server.
  assertStrictEquals(
    told("client", error(""), flood),
    'disconnect 1008 "too many" network',
  );
  assertStrictEquals(
    told("server", flood),
    'disconnect 1008 "too many" network',
  );
});

Deno.test("transition() reports the host's own shutdown", () => {
  const shutdown = { ...close, cause: "shutdown", isHosted: true } as const;
  const own = 'close 1001 "Server shutting down" shutdown';
  assertEquals(told("server", shutdown, closed(true, 1005)), own);
  assertEquals(told("server", shutdown, sent, closed(true, 1005)), own);
  const lost = 'disconnect 1006 "" network';
  const alone = { ...shutdown, isHosted: false };
  assertEquals(told("server", alone, sent, closed(true, 1005)), lost);
  const local = { ...close, isHosted: true };
  assertEquals(told("server", local, sent, closed(true, 1005)), lost);
  assertEquals(
    told("server", shutdown, sent, error("EOF"), closed(false, 0)),
    lost,
  );
});

Deno.test("transition() reports a runtimeClosing connection as a timeout", () => {
  const runtimeClosing: ConnectionSignal = { type: "runtime-closing" };
  assertEquals(told("server", runtimeClosing), "open");
  const lost = 'disconnect 1006 "" timeout';
  // The peer's TCP ended while Deno waited to tell it that it was too late.
  assertEquals(told("server", runtimeClosing, closed(true, 1005)), lost);
  assertEquals(told("server", runtimeClosing, closed(false, 0)), lost);
  // It was not late, but about to close, and is told so at last.
  assertEquals(
    told("server", runtimeClosing, closed(true, 4000, "bye")),
    'close 4000 "bye" peer',
  );
  assertEquals(told("server", close, runtimeClosing, timeout), lost);
});

Deno.test("transition() ignores runtimeClosing signals on a client", () => {
  const runtimeClosing: ConnectionSignal = { type: "runtime-closing" };
  assertEquals(
    told("client", runtimeClosing, closed(true, 1005)),
    'close 1005 "" peer',
  );
});
