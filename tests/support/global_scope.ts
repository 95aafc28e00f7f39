/**
 * Creates clients where a program may start no timer, draw no random number and open
 * nothing: at module level in workerd. Prints what was called all the same.
 */

/** What throws there. */
const FORBIDDEN: readonly (readonly [object, readonly string[]])[] = [
  [globalThis, [
    "setTimeout",
    "setInterval",
    "setImmediate",
    "fetch",
    "WebSocket",
    "BroadcastChannel",
  ]],
  [crypto, ["getRandomValues", "randomUUID"]],
  [AbortSignal, ["timeout"]],
  [Math, ["random"]],
  [performance, ["now"]],
];

for (const [owner, names] of FORBIDDEN) {
  for (const name of names) {
    Object.defineProperty(owner, name, {
      value: () => {
        console.log(`${name} was called`);
        throw new Error(`Disallowed operation called within global scope`);
      },
    });
  }
}

await import("../../core/features/full.ts");
const { ClientSocket } = await import("../../client.ts");
const { signal } = new AbortController();
for (
  const options of [
    {},
    { signal, idleTimeout: 1_000, maxPayload: 1_000, plain: true },
    { reconnect: { maxDuration: 1_000, maxAttempts: 3 } },
    { protocols: () => ["chat"], headers: () => ({ "X-Test": "yes" }) },
  ]
) {
  const client = new ClientSocket(options);
  client.on("message", () => {});
  client.on("state", () => {});
  client.handle("sum", () => 1);
}
new ClientSocket({ reconnect: true }).send("waits for connect()");
console.log("done");
