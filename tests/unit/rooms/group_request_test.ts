/** The limits of a request to the clients of several servers. */

import { assertEquals, assertMatch, assertStrictEquals } from "@std/assert";
import { ClientSocket } from "../../../mod.ts";
import {
  askClients,
  MAX_ASKED,
  ReplyCollector,
} from "../../../core/rooms/group_request.ts";
import { ServerSocket } from "../../../server.ts";
import { MemoryNetwork } from "../../../testing.ts";

const KIB = 1024;

/** A reply that is a JSON text of so many bytes. */
function replyOf(id: string, size: number) {
  const body = new TextEncoder().encode(JSON.stringify("x".repeat(size - 2)));
  const answer = { number: 0, replies: [{ id, size, isBinary: false }] };
  return { answer, body };
}

Deno.test("ReplyCollector keeps 16 MiB of replies, and refuses those above", () => {
  const collector = new ReplyCollector(undefined);
  const ids = Array.from({ length: 34 }, (_, i) => `client ${i}`);
  collector.receive({ number: 0, asked: ids });
  for (const id of ids) {
    const { answer, body } = replyOf(id, 512 * KIB);
    collector.receive(answer, body);
  }
  const { replies, failures, missingServers } = collector.finish(0);
  assertEquals([...replies.keys()], ids.slice(0, 32));
  assertEquals([...failures.keys()], ids.slice(32));
  for (const error of failures.values()) {
    assertStrictEquals(error.name, "RangeError");
    assertMatch(error.message, /the limit is 16777216/);
  }
  assertStrictEquals(missingServers, 0);
});

Deno.test("ReplyCollector takes one reply of each client that was asked", () => {
  const collector = new ReplyCollector(undefined);
  collector.receive({ number: 0, asked: ["a", "b", "c"] });
  for (const id of ["a", "a", "stranger"]) {
    const { answer, body } = replyOf(id, 5);
    collector.receive(answer, body);
  }
  const error = { name: "RequestError", message: "No", code: "x" };
  collector.receive({ number: 0, replies: [{ id: "b", error }] });
  const { replies, failures, missingServers } = collector.finish(1);
  assertEquals([...replies], [["a", "xxx"]]);
  assertEquals(
    [...failures].map(([id, { name }]) => [id, name]),
    [["b", "RequestError"], ["c", "TimeoutError"]],
  );
  assertStrictEquals(missingServers, 1);
});

Deno.test("askClients() asks at most 10,000 clients of a server", async () => {
  const server = new ServerSocket();
  const network = new MemoryNetwork(server);
  const connected = server.waitFor("connect");
  const client = new ClientSocket({ plain: true }); // its requests fail at once
  await client.connect(network.url);
  const [connection] = await connected;
  const names = new Map<string, number>();
  let asked = 0;
  await askClients(
    new Array<typeof connection>(MAX_ASKED + 1).fill(connection),
    "?",
    1_000,
    (answer) => {
      asked += answer.asked?.length ?? 0;
      for (const reply of answer.replies ?? []) {
        const name = "error" in reply ? reply.error.name : "none";
        names.set(name, (names.get(name) ?? 0) + 1);
      }
    },
  );
  assertStrictEquals(asked, MAX_ASKED + 1);
  assertEquals(Object.fromEntries(names), {
    NotSupportedError: MAX_ASKED,
    RangeError: 1,
  });
  await client.close();
  await server.close();
});
