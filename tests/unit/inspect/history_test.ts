import { assertEquals, assertStrictEquals } from "@std/assert";
import { type Traffic, TrafficHistory } from "../../../inspect/history.ts";

/** A server that carries what a test says, and how often that was read. */
function carrying() {
  const traffic: Traffic = {
    messagesReceived: 0,
    bytesReceived: 0,
    messagesSent: 0,
    bytesSent: 0,
  };
  const server = { reads: 0 };
  const history = new TrafficHistory(100, 0, () => {
    server.reads++;
    return { ...traffic };
  });
  return { server, traffic, history };
}

Deno.test("TrafficHistory counts in slices of two seconds", () => {
  const { traffic, history } = carrying();
  history.count("connects", 200);
  history.count("connects", 2_099);
  traffic.messagesReceived = 5;
  assertStrictEquals(history.advance(2_100), 2_000);
  history.count("ends", 2_150);
  traffic.messagesReceived = 6;
  traffic.bytesSent = 100;
  assertStrictEquals(history.advance(4_600), 1_500);
  assertEquals(
    history.slices.map((slice) => [
      slice.connections,
      slice.connects,
      slice.ends,
      slice.messagesReceived,
      slice.bytesSent,
    ]),
    [[2, 2, 0, 5, 0], [1, 0, 1, 1, 100]],
  );
});

Deno.test("TrafficHistory reads traffic once per slice", () => {
  const { server, history } = carrying();
  for (let i = 0; i < 1_000; i++) history.count("connects", 100 + i * 10);
  assertStrictEquals(history.slices.length, 4);
  assertStrictEquals(server.reads, 1 + 4);
});

Deno.test("TrafficHistory fills skipped slices and removes the oldest", () => {
  const { history } = carrying();
  history.count("refusals", 100);
  history.advance(2_100 + 8_000);
  assertEquals(history.slices.map(({ refusals }) => refusals), [1, 0, 0, 0, 0]);
  history.count("connects", 20_000);
  history.advance(1e12);
  assertStrictEquals(history.slices.length, 150);
  assertStrictEquals(history.slices.every((s) => s.refusals === 0), true);
  assertStrictEquals(history.slices.at(-1)?.connections, 1);
});

Deno.test("TrafficHistory.rates averages the last ten seconds", () => {
  const { traffic, history } = carrying();
  assertStrictEquals(history.rates.messagesSent, 0);
  for (let i = 1; i <= 10; i++) {
    traffic.messagesSent += i <= 5 ? 1_000 : 4;
    history.advance(100 + i * 2_000);
  }
  history.count("connects", 20_200);
  assertStrictEquals(history.rates.messagesSent, 2);
  assertStrictEquals(history.rates.connections, 1);
});

Deno.test("TrafficHistory counts are never negative", () => {
  const { traffic, history } = carrying();
  for (const bytes of [10, 4, 12]) {
    traffic.bytesReceived = bytes;
    history.settle();
  }
  history.advance(2_100);
  assertStrictEquals(history.slices[0]?.bytesReceived, 12);
});
