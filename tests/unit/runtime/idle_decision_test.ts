import { assertEquals, assertStrictEquals } from "@std/assert";
import {
  Liveness,
  MIN_PEER_BYTES_PER_SECOND,
  type PeerActivity,
} from "../../../core/runtime/idle_decision.ts";

const NOTHING: PeerActivity = { receivedAt: 0, pongs: 0, sent: 0, buffered: 0 };

/** Returns the verdicts other than `wait`, with their times. */
function decisions(
  liveness: Liveness,
  activityAt: (now: number) => Partial<PeerActivity>,
  until: number,
  every = 10,
): string[] {
  const all: string[] = [];
  for (let now = 0; now <= until; now += every) {
    const verdict = liveness.check(now, { ...NOTHING, ...activityAt(now) });
    if (verdict !== "wait") all.push(`${verdict} at ${now}`);
    if (verdict === "lost") break;
  }
  return all;
}

Deno.test("Liveness pings after half of the timeout and reports a loss after all of it", () => {
  assertEquals(decisions(new Liveness(1_000), () => ({}), 5_000), [
    "ping at 500",
    "lost at 1000",
  ]);
});

Deno.test("Liveness keeps pinging a peer that answers", () => {
  const receivedAt = (now: number) => now < 520 ? 0 : now < 1_040 ? 520 : 1_040;
  const pongs = (now: number) => now < 520 ? 0 : now < 1_040 ? 1 : 2;
  assertEquals(
    decisions(
      new Liveness(1_000),
      (now) => ({ receivedAt: receivedAt(now), pongs: pongs(now) }),
      3_000,
    ),
    ["ping at 500", "ping at 1020", "ping at 1540", "lost at 2040"],
  );
});

Deno.test("Liveness does not ping an active peer", () => {
  assertEquals(
    decisions(new Liveness(1_000), (now) => ({ receivedAt: now - 400 }), 5_000),
    [],
  );
});

Deno.test("Liveness extends the timeout for bytes sent before the ping", () => {
  const sent = MIN_PEER_BYTES_PER_SECOND * 3;
  assertEquals(decisions(new Liveness(1_000), () => ({ sent }), 10_000), [
    "ping at 500",
    "lost at 4000",
  ]);
  // Bytes sent after the ping do not delay the pong.
  const later = (now: number) => ({ sent: now <= 500 ? 0 : sent });
  assertEquals(decisions(new Liveness(1_000), later, 10_000), [
    "ping at 500",
    "lost at 1000",
  ]);
});

Deno.test("Liveness does not extend the timeout for bytes that a pong has confirmed", () => {
  const sent = MIN_PEER_BYTES_PER_SECOND * 3;
  const activity = (now: number) =>
    now < 600 ? { sent } : { sent, receivedAt: 600, pongs: 1 };
  assertEquals(decisions(new Liveness(1_000), activity, 10_000), [
    "ping at 500",
    "ping at 1100",
    "lost at 1600",
  ]);
});

Deno.test("Liveness pings an active peer when more than 64 KiB are unconfirmed", () => {
  const limit = 64 * 1024;
  const active = (sent: number) => (now: number) => ({ receivedAt: now, sent });
  assertEquals(decisions(new Liveness(1_000), active(limit), 2_000), []);
  assertEquals(decisions(new Liveness(1_000), active(limit + 1), 2_000), [
    "ping at 0",
  ]);
});

Deno.test("Liveness does not take a message for a pong", () => {
  // The peer sends a message while it still reads what was sent before the ping.
  const activity = (now: number) => ({
    sent: MIN_PEER_BYTES_PER_SECOND * 3,
    receivedAt: now < 900 ? 0 : 900,
  });
  assertEquals(decisions(new Liveness(1_000), activity, 10_000), [
    "ping at 500",
    "ping at 1400", // the peer may have ignored the first ping
    "lost at 4900",
  ]);
  // A pong of the first ping does not answer the second.
  const answered = (now: number) => ({
    ...activity(now),
    sent: now < 1_000
      ? MIN_PEER_BYTES_PER_SECOND
      : MIN_PEER_BYTES_PER_SECOND * 3,
    pongs: now < 2_000 ? 0 : 1,
  });
  assertEquals(decisions(new Liveness(1_000), answered, 10_000), [
    "ping at 500",
    "ping at 1400",
    "lost at 3900",
  ]);
});

Deno.test("Liveness counts progress of a full buffer as activity", () => {
  const activity = (now: number) => ({
    sent: 1_000,
    buffered: Math.max(0, 1_000 - Math.floor(now / 300) * 100),
  });
  // The last progress is at 2700.
  assertEquals(decisions(new Liveness(1_000), activity, 60_000), [
    "ping at 3200",
    "lost at 3770",
  ]);
  const stuck = () => ({ sent: 1_000, buffered: 500 });
  assertEquals(decisions(new Liveness(1_000), stuck, 60_000), [
    "ping at 500",
    "lost at 1070",
  ]);
});

Deno.test("Liveness does not count bytes in the kernel's buffer as activity", () => {
  // The kernel accepts small messages although the peer is dead.
  const activity = (now: number) => ({ sent: now / 10, buffered: 0 });
  assertEquals(decisions(new Liveness(1_000), activity, 60_000), [
    "ping at 500",
    "lost at 1010",
  ]);
});

Deno.test("Liveness extends the timeout by the grace period", () => {
  assertEquals(decisions(new Liveness(1_000, 2_000), () => ({}), 9_000), [
    "ping at 500",
    "lost at 3000",
  ]);
});

Deno.test("Liveness.nextCheckAt() detects a loss with few checks", () => {
  const liveness = new Liveness(1_000);
  let checks = 0;
  let now = 0;
  for (; liveness.check(now, NOTHING) !== "lost"; checks++) {
    now = liveness.nextCheckAt(now, 0);
  }
  assertStrictEquals(now, 1_000);
  assertStrictEquals(checks < 12, true, `${checks} checks`);
});
