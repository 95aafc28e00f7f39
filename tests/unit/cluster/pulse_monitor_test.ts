/** When a broker that returns nothing is given up. */

import { assert, assertEquals, assertFalse } from "@std/assert";
import { PulseMonitor } from "../../../core/cluster/pulse_monitor.ts";

/** Adds up the delays until the broker is lost. */
function silence(monitor: PulseMonitor): number {
  let time = 0;
  for (let next = monitor.next(); next; next = monitor.next()) {
    time += next.delay;
  }
  return time;
}

Deno.test("PulseMonitor gives the broker up within 9 seconds of the last pulse", () => {
  const monitor = new PulseMonitor();
  const atStart = silence(monitor);
  assert(atStart >= 7_500 && atStart <= 9_000, `${atStart}`);
  monitor.restart();
  const pulse = monitor.next();
  assert(pulse && monitor.returned(pulse.number));
  const later = silence(monitor);
  assert(later >= 7_500 && later <= 9_000, `${later}`);
});

Deno.test("PulseMonitor sends the first pulses more often, and then every 1.5 seconds", () => {
  const monitor = new PulseMonitor();
  const delays = [1, 2, 3].map(() => monitor.next()?.delay);
  assertEquals(delays, [50, 100, 200]);
  assert(monitor.returned(1));
  assertEquals(monitor.next()?.delay, 1_500);
});

Deno.test("PulseMonitor.returned() ignores pulses of an earlier connection, and strange ones", () => {
  const monitor = new PulseMonitor();
  monitor.next();
  monitor.restart();
  const pulse = monitor.next();
  assert(pulse);
  for (const number of [1, 0, -1, NaN, Infinity, pulse.number + 1]) {
    assertFalse(monitor.returned(number), `${number}`);
  }
  assert(monitor.returned(pulse.number));
});

Deno.test("PulseMonitor keeps a broker whose pulses are late", () => {
  const monitor = new PulseMonitor();
  const sent: number[] = [];
  for (let i = 0; i < 1_000; i++) {
    const pulse = monitor.next();
    assert(pulse);
    sent.push(pulse.number);
    if (sent.length > 3) assert(monitor.returned(sent.shift() ?? 0));
  }
});
