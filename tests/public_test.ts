import { assertEquals } from "@std/assert";
import * as all from "@ws/events";
import * as client from "@ws/events/client";
import * as message from "@ws/events/message";
import * as server from "@ws/events/server";

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

Deno.test("the entry points export what they promise, and nothing else", () => {
  const ofServer = [
    "AdapterEvent",
    "Audience",
    "ClientEndEvent",
    "ReadyEvent",
    "RefusedEvent",
    "ServerSocket",
    "sameOrigin",
  ];
  const ofClient = [
    "ClientSocket",
    "ConnectError",
    "GiveUpEvent",
    "ReconnectingEvent",
    "isTransient",
  ];
  const entries: [object, string[]][] = [
    [all, [...SHARED, ...ofServer, ...ofClient]],
    [server, [...SHARED, ...ofServer]],
    [client, [...SHARED, ...ofClient]],
    [message, ["Message"]],
  ];
  for (const [module, names] of entries) {
    assertEquals(Object.keys(module).sort(), names.sort());
  }
});
