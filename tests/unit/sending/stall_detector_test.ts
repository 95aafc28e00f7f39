import { assertEquals } from "@std/assert";
import { StallDetector } from "../../../core/sending/stall_detector.ts";

/** Polls a socket that does not move until the peer counts as stalled. */
function stalledAfter(detector: StallDetector, buffered: number): number {
  let elapsed = 0;
  while (!detector.isStalled) {
    elapsed += detector.delay;
    assertEquals(detector.check(buffered), false);
  }
  return elapsed;
}

Deno.test("StallDetector allows the timeout, and a second per 16 KiB", () => {
  for (const [buffered, least] of [[0, 1_000], [32 * 1024, 3_000]] as const) {
    const detector = new StallDetector(1_000);
    detector.noteProgress(buffered);
    const elapsed = stalledAfter(detector, buffered);
    assertEquals(elapsed >= least && elapsed < least + 32, true, `${elapsed}`);
  }
});

Deno.test("StallDetector begins again when something moves", () => {
  const detector = new StallDetector(1_000);
  detector.noteProgress(10);
  stalledAfter(detector, 10);
  assertEquals(detector.delay, 32);
  detector.isPeerActive = true;
  assertEquals(detector.check(9), true);
  assertEquals(
    [detector.isStalled, detector.delay, detector.isPeerActive],
    [false, 1, false],
  );
});

Deno.test("StallDetector without a timeout never reports a stalled peer", () => {
  const detector = new StallDetector(0);
  detector.noteProgress(1024);
  for (let i = 0; i < 10_000; i++) detector.check(1024);
  assertEquals(detector.isStalled, false);
});

Deno.test("StallDetector gives empty messages 250 ms to leave", () => {
  const detector = new StallDetector(0);
  detector.noteProgress(0);
  let elapsed = 0;
  while (!detector.hasWaitedForEmpty) {
    elapsed += detector.delay;
    detector.check(0);
  }
  assertEquals(elapsed >= 250 && elapsed < 282, true, `${elapsed}`);
});

Deno.test("StallDetector.hasMoved() compares with the last call", () => {
  const detector = new StallDetector(1_000);
  assertEquals(detector.hasMoved(10), true);
  assertEquals(detector.hasMoved(10), false);
  assertEquals(detector.hasMoved(9), true);
  detector.reset();
  assertEquals(detector.hasMoved(20), true);
});
