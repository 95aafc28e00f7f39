import { assertEquals, assertStrictEquals } from "@std/assert";
import {
  Liveness,
  MIN_PEER_BYTES_PER_SECOND,
  type PeerActivity,
} from "../../../core/util/liveness.ts";

/** A peer of which nothing is known. */
const NOTHING: PeerActivity = { heardAt: 0, answers: 0, sent: 0, buffered: 0 };

/** What is decided each `every` milliseconds, and when. */
function decisions(
  liveness: Liveness,
  signsAt: (now: number) => Partial<PeerActivity>,
  until: number,
  every = 10,
): string[] {
  const all: string[] = [];
  for (let now = 0; now <= until; now += every) {
    const verdict = liveness.check(now, { ...NOTHING, ...signsAt(now) });
    if (verdict !== "wait") all.push(`${verdict} at ${now}`);
    if (verdict === "lost") break;
  }
  return all;
}

Deno.test("Liveness asks after half of the timeout, and gives up after the whole", () => {
  assertEquals(decisions(new Liveness(1_000), () => ({}), 5_000), [
    "ask at 500",
    "lost at 1000",
  ]);
});

Deno.test("Liveness goes on asking a peer that answers", () => {
  const heardAt = (now: number) => now < 520 ? 0 : now < 1_040 ? 520 : 1_040;
  const answers = (now: number) => now < 520 ? 0 : now < 1_040 ? 1 : 2;
  assertEquals(
    decisions(
      new Liveness(1_000),
      (now) => ({ heardAt: heardAt(now), answers: answers(now) }),
      3_000,
    ),
    ["ask at 500", "ask at 1020", "ask at 1540", "lost at 2040"],
  );
});

Deno.test("Liveness does not ask a peer that is heard", () => {
  assertEquals(
    decisions(new Liveness(1_000), (now) => ({ heardAt: now - 400 }), 5_000),
    [],
  );
});

Deno.test("Liveness allows for what was sent before it asked, at MIN_RATE", () => {
  const sent = MIN_PEER_BYTES_PER_SECOND * 3;
  assertEquals(decisions(new Liveness(1_000), () => ({ sent }), 10_000), [
    "ask at 500",
    "lost at 4000",
  ]);
  // What is sent later delays no answer.
  const later = (now: number) => ({ sent: now <= 500 ? 0 : sent });
  assertEquals(decisions(new Liveness(1_000), later, 10_000), [
    "ask at 500",
    "lost at 1000",
  ]);
});

Deno.test("Liveness does not allow for what an answer has confirmed", () => {
  const sent = MIN_PEER_BYTES_PER_SECOND * 3;
  const signs = (now: number) =>
    now < 600 ? { sent } : { sent, heardAt: 600, answers: 1 };
  assertEquals(decisions(new Liveness(1_000), signs, 10_000), [
    "ask at 500",
    "ask at 1100",
    "lost at 1600",
  ]);
});

Deno.test("Liveness asks a peer that talks, too, once 64 KiB are unconfirmed", () => {
  const limit = 64 * 1024;
  const talking = (sent: number) => (now: number) => ({ heardAt: now, sent });
  assertEquals(decisions(new Liveness(1_000), talking(limit), 2_000), []);
  assertEquals(decisions(new Liveness(1_000), talking(limit + 1), 2_000), [
    "ask at 0",
  ]);
});

Deno.test("Liveness is not told by a message that an old question was answered", () => {
  // It says something while it still takes what was sent before the question.
  const signs = (now: number) => ({
    sent: MIN_PEER_BYTES_PER_SECOND * 3,
    heardAt: now < 900 ? 0 : 900,
  });
  assertEquals(decisions(new Liveness(1_000), signs, 10_000), [
    "ask at 500",
    "ask at 1400", // it may have left the answer out
    "lost at 4900",
  ]);
  // An answer to the first is none to the second.
  const answered = (now: number) => ({
    ...signs(now),
    sent: now < 1_000
      ? MIN_PEER_BYTES_PER_SECOND
      : MIN_PEER_BYTES_PER_SECOND * 3,
    answers: now < 2_000 ? 0 : 1,
  });
  assertEquals(decisions(new Liveness(1_000), answered, 10_000), [
    "ask at 500",
    "ask at 1400",
    "lost at 3900",
  ]);
});

Deno.test("Liveness takes a full buffer that empties for a sign of life", () => {
  const signs = (now: number) => ({
    sent: 1_000,
    buffered: Math.max(0, 1_000 - Math.floor(now / 300) * 100),
  });
  // The last of it leaves at 2700 that is seen to.
  assertEquals(decisions(new Liveness(1_000), signs, 60_000), [
    "ask at 3200",
    "lost at 3770",
  ]);
  const stuck = () => ({ sent: 1_000, buffered: 500 });
  assertEquals(decisions(new Liveness(1_000), stuck, 60_000), [
    "ask at 500",
    "lost at 1070",
  ]);
});

Deno.test("Liveness does not take what the kernel keeps for a sign of life", () => {
  // Small messages find room in the buffers of a kernel whose peer is dead.
  const signs = (now: number) => ({ sent: now / 10, buffered: 0 });
  assertEquals(decisions(new Liveness(1_000), signs, 60_000), [
    "ask at 500",
    "lost at 1010",
  ]);
});

Deno.test("Liveness gives a peer longer that cannot answer within a message", () => {
  assertEquals(decisions(new Liveness(1_000, 2_000), () => ({}), 9_000), [
    "ask at 500",
    "lost at 3000",
  ]);
});

Deno.test("Liveness looks again often enough, and no more often", () => {
  const liveness = new Liveness(1_000);
  let looks = 0;
  let now = 0;
  for (; liveness.check(now, NOTHING) !== "lost"; looks++) {
    now = liveness.nextCheckAt(now, 0);
  }
  assertStrictEquals(now, 1_000);
  assertStrictEquals(looks < 12, true, `It looks ${looks} times`);
});
