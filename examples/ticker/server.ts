/**
 * A ticker: 1,000 prices, each in a channel of its own, and 1,000 changes a second.
 *
 *     deno run --allow-net --allow-read --allow-run examples/ticker/server.ts
 */

import { channels } from "@ws/events/channels";
import { ServerSocket } from "@ws/events/server";

const { success, stdout } = await new Deno.Command(Deno.execPath(), {
  args: ["bundle", "--quiet", "--platform=browser", "page/page.ts"],
  cwd: new URL(".", import.meta.url),
  stderr: "inherit",
}).output();
if (!success) Deno.exit(1);
const html = await Deno.readFile(new URL("page/index.html", import.meta.url));

const server = new ServerSocket({
  paths: ["/prices"],
  fallback: ({ url }) =>
    new URL(url).pathname === "/page.js"
      ? new Response(stdout, { headers: { "Content-Type": "text/javascript" } })
      : new Response(html, { headers: { "Content-Type": "text/html" } }),
});

const symbols = Array.from({ length: 1_000 }, (_, i) => `S${1_000 + i}`);
const prices = new Map(symbols.map((symbol) => [symbol, 100]));

channels(server, { maxPerClient: symbols.length }).channel("prices/:symbol", {
  join: ({ params: { symbol } }) => prices.has(symbol),
  snapshot: ({ params: { symbol } }) => ({ price: prices.get(symbol) }),
});

function change(symbol: string): void {
  const price = (prices.get(symbol) ?? 100) * (0.99 + Math.random() / 50);
  prices.set(symbol, price);
  // A page that is slow receives only the newest price of each channel.
  server.to(`prices/${symbol}`).send({ price, at: Date.now() }, {
    overflow: "latest",
    key: "price",
  });
}

await server.listen("localhost", Number(Deno.args[0] ?? 3000));
console.log(`Open ${server.url.replace("ws:", "http:")}`);

const start = performance.now();
for (let i = 0;; i++) {
  while (performance.now() - start < i) {
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  change(symbols[Math.floor(Math.random() * symbols.length)] ?? "");
}
