import { assertEquals } from "@std/assert";
import * as all from "@ws/events";
import * as adapter from "@ws/events/adapter";
import * as client from "@ws/events/client";
import * as inspect from "@ws/events/inspect";
import * as message from "@ws/events/message";
import * as server from "@ws/events/server";
import * as debug from "@ws/events/debug";
import * as telemetry from "@ws/events/telemetry";
import * as testing from "@ws/events/testing";

/** What both sockets' entry points have. A name less is a breaking change. */
const SHARED = [
  "CloseCode",
  "ConnectEvent",
  "ConnectionEndedError",
  "DrainEvent",
  "EndEvent",
  "FailureEvent",
  "Message",
  "MessageDroppedError",
  "ReceivedEvent",
  "RequestError",
  "SchemaError",
];

/** What the root leaves to the entry points of the two sockets. */
const REST = [
  "DrainEvent",
  "ReadyEvent",
  "RecoveryEvent",
  "ServerMessageEvent",
  "StateEvent",
];

Deno.test("the entry points export exactly the documented names", () => {
  const ofServer = [
    "AdapterEvent",
    "Audience",
    "CloseRefusal",
    "MemberEvent",
    "ReadyEvent",
    "RefusedEvent",
    "ServerMessageEvent",
    "ServerSocket",
    "sameOrigin",
  ];
  const ofClient = [
    "ClientSocket",
    "ConnectError",
    "GiveUpEvent",
    "ReconnectingEvent",
    "RecoveryEvent",
    "StateEvent",
    "isTransient",
  ];
  const entries: [object, string[]][] = [
    [
      all,
      [...SHARED, ...ofServer, ...ofClient].filter((name) =>
        !REST.includes(name)
      ),
    ],
    [server, [...SHARED, ...ofServer]],
    [client, [...SHARED, ...ofClient]],
    [message, ["Message"]],
    [adapter, []],
    [inspect, ["inspect"]],
    [debug, ["debug"]],
    [telemetry, ["instrument"]],
    [testing, ["MemoryNetwork", "advance", "pair", "settle"]],
  ];
  for (const [module, names] of entries) {
    assertEquals(Object.keys(module).sort(), names.sort());
  }
});
