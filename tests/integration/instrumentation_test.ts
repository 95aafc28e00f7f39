/** What a probe sees of a connection, and what `events.v1` says of traces. */

import { assertEquals, assertStrictEquals } from "@std/assert";
import { ClientSocket } from "../../client.ts";
import type { Side } from "../../core/runtime/websocket.ts";
import { encodeCredit } from "../../core/protocol/frames.ts";
import {
  type Instrumentation,
  slotOf,
} from "../../core/events/instrumentation.ts";
import { ServerSocket } from "../../server.ts";
import { createFixture, type Fixture } from "../support/fake_socket.ts";
import { listenForTest } from "../support/listen_for_test.ts";
import { InstrumentationRecorder } from "../support/instrumentation_recorder.ts";

/** One open end of `events.v1` that is looked into, whose peer is the test. */
function own(
  instrumentation: Instrumentation | undefined,
  limits = { maxPayload: 100, messageRate: undefined },
): Fixture {
  const spoken = { protocol: "", isEvents: true };
  const role: Side = "server";
  const self = createFixture(role, {
    negotiated: spoken,
    options: { instrumentation, limits },
  });
  self.owner.handler = ({ content }) => content;
  self.socket.open();
  return self;
}

/** Lets all be sent that is to be sent in this turn. */
async function turn(): Promise<void> {
  for (let i = 0; i < 5; i++) await Promise.resolve();
}

Deno.test("a probe sees what happens to the connections of a server and a client", async () => {
  const server = new ServerSocket();
  const ofServer = new InstrumentationRecorder();
  const client = new ClientSocket();
  const ofClient = new InstrumentationRecorder("a trace");
  for (
    const [socket, instrumentation] of [[server, ofServer], [client, ofClient]]
  ) {
    const place = socket && slotOf(socket);
    if (place && instrumentation instanceof InstrumentationRecorder) {
      place.instrumentation = instrumentation;
    }
  }
  server.handle("sum", () => 3);
  server.handle(() => null);
  server.on("error", () => {});
  server.on("message", () => {
    throw new Error("oops");
  });
  await client.connect(`${await listenForTest(server)}/live?secret`);
  await client.request({ type: "sum" });
  await client.request("other");
  await client.send("message");
  const ended = server.waitFor("close");
  await client.close(4000);
  await ended;
  await server.close();
  assertEquals(ofServer.seen, [
    "detach",
    "created",
    "opened /live",
    "receive 2",
    "handle sum in a trace",
    "receive 2",
    "handle undefined in a trace",
    "failed Error: oops in message",
    "ended close 4000 peer after 3",
  ]);
  assertEquals(ofClient.seen, [
    "detach",
    "created",
    "opened /live",
    "ask [object Object]",
    "transmit 2",
    "ask other",
    "transmit 2",
    "ended close 4000 local after 0",
  ]);
});

Deno.test("a probe hears of an error once, whoever listens to it", () => {
  const instrumentation = new InstrumentationRecorder();
  const { connection, owner, socket } = own(instrumentation);
  owner.received = () => {};
  connection.on("message", () => {
    throw new Error("oops");
  });
  socket.receive("one");
  assertStrictEquals(owner.errors.length, 1);
  assertEquals(instrumentation.seen, ["created", "opened /path"]); // its owner tells
  connection.on("error", () => {});
  socket.receive("two");
  assertEquals(instrumentation.seen.slice(2), [
    "failed Error: oops in message",
  ]);
  connection.terminate();
});

Deno.test("events.v1: a trace goes right before its request, also where both wait for credit", async () => {
  const { connection, socket } = own(new InstrumentationRecorder("t"));
  await turn();
  socket.sent.splice(0);
  connection.request("first");
  await turn();
  assertEquals(socket.sent.splice(0), [
    "\u0001[\u0001t1,t\u001e\u0001?1,first",
  ]);
  for (let i = 0; i < 1_023; i++) connection.send(new Uint8Array([1]));
  connection.request("second");
  connection.request("third");
  await turn();
  socket.sent.splice(0);
  socket.receive(encodeCredit(1_025)); // for one more: the trace costs nothing
  await turn();
  assertEquals(socket.sent.splice(0), [
    "\u0001[\u0001t2,t\u001e\u0001?2,second",
  ]);
  socket.receive(encodeCredit(1_026));
  await turn();
  assertEquals(socket.sent.splice(0), [
    "\u0001[\u0001t3,t\u001e\u0001?3,third",
  ]);
  connection.terminate();
});

Deno.test("events.v1: a trace is that of the next request, if it has its id", async () => {
  const instrumentation = new InstrumentationRecorder();
  const { connection, socket } = own(instrumentation);
  for (
    const text of [
      "\u0001t1,a",
      "\u0001?1,x",
      "\u0001?2,x", // the trace is used up
      "\u0001t3,b",
      "a message between them",
      "\u0001?3,x",
      "\u0001t5,c",
      "\u0001?4,x", // another one's
      "\u0001?5,x",
      "\u0001[\u0001t6,d,e\u001e\u0001?6,x",
      "\u0001t7", // no trace at all
      "\u0001?7,x",
    ]
  ) socket.receive(text);
  await turn();
  assertEquals(instrumentation.seen.filter((one) => one.startsWith("handle")), [
    "handle undefined in a",
    "handle undefined in undefined",
    "handle undefined in b",
    "handle undefined in undefined",
    "handle undefined in undefined",
    "handle undefined in d,e",
    "handle undefined in undefined",
  ]);
  assertStrictEquals(connection.readyState, 1);
  connection.terminate();
});

Deno.test("events.v1: a trace counts for messageRate only if its request does not follow", () => {
  const messageRate = { perSecond: 0, burst: 3, policy: "drop" } as const;
  const limits = { maxPayload: 100, messageRate };
  const spoken = { protocol: "", isEvents: true };
  const { connection, socket } = createFixture("server", {
    negotiated: spoken,
    options: { limits },
  });
  socket.open();
  for (let id = 1; id <= 3; id++) {
    socket.receive(`\u0001t${id},trace`);
    socket.receive(`\u0001?${id},x`);
  }
  assertEquals(connection.dropped.incoming, 0);
  socket.receive("\u0001t4,trace");
  assertEquals(connection.dropped.incoming, 0);
  socket.receive("\u0001t5,trace");
  socket.receive("\u0001t6,trace");
  assertEquals(connection.dropped.incoming, 2);
  connection.terminate();
});
