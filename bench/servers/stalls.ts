/**
 * Measures for how long the event loop of a server stands still, and prints the longest
 * time in milliseconds at SIGUSR2. Loaded before the server, by `--preload`.
 */

const EVERY_MS = 1;

let longest = 0;
let last = performance.now();
const timer = setInterval(() => {
  const now = performance.now();
  longest = Math.max(longest, now - last - EVERY_MS);
  last = now;
}, EVERY_MS);
Deno.unrefTimer(timer); // else the server would not be loaded
Deno.addSignalListener("SIGUSR2", () => {
  console.log(`stall ${longest.toFixed(2)}`);
  longest = 0;
});
