/** Keeps the thread busy for a time in milliseconds. */
export function busyFor(ms: number): void {
  const until = performance.now() + ms;
  while (performance.now() < until) continue;
}
