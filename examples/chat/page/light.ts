/**
 * The light that shows how the connection is. Its words are announced when they
 * change; the countdown beside them is not, as it changes each second.
 *
 * @module
 */

import { find } from "./find.ts";

export type Phase =
  | { readonly kind: "connecting" }
  | { readonly kind: "connected" }
  | {
    readonly kind: "reconnecting";
    readonly attempt: number;
    /** In how many milliseconds the attempt is made. */
    readonly delay: number;
  }
  | { readonly kind: "closed"; readonly why: string };

const bar = find("light", HTMLElement);
const words = find("light-words", HTMLElement);
const countdown = find("light-countdown", HTMLElement);
const again = find("again", HTMLButtonElement);

let timer: ReturnType<typeof setInterval> | undefined;

/** Shows a phase of the connection. */
export function show(phase: Phase): void {
  clearInterval(timer);
  bar.dataset.phase = phase.kind;
  countdown.textContent = "";
  const text = describe(phase);
  // The same words once more would be announced once more.
  if (words.textContent !== text) words.textContent = text;
  again.hidden = phase.kind !== "closed";
  if (phase.kind === "reconnecting") countDown(phase.delay);
}

function describe(phase: Phase): string {
  switch (phase.kind) {
    case "connecting":
      return "Connecting";
    case "connected":
      return "Connected";
    case "reconnecting":
      return `Reconnecting, attempt ${phase.attempt}`;
    case "closed":
      return `Closed: ${phase.why}`;
  }
}

function countDown(delay: number): void {
  const due = performance.now() + delay;
  const tick = () => {
    const seconds = Math.ceil((due - performance.now()) / 1_000);
    countdown.textContent = seconds > 0
      ? `again in ${seconds} s`
      : "trying now";
    if (seconds <= 0) clearInterval(timer);
  };
  timer = setInterval(tick, 250);
  tick();
}
