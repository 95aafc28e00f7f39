/**
 * Serves the page, and repeats in each room what is said there.
 *
 *     deno run --allow-net --allow-read --allow-run examples/react/server.ts
 *
 * @module
 */

import { ServerSocket } from "@ws/events/server";

const { success, stdout } = await new Deno.Command(Deno.execPath(), {
  args: ["bundle", "--quiet", "--platform=browser", "page/page.tsx"],
  cwd: new URL(".", import.meta.url),
  stderr: "inherit",
}).output();
if (!success) Deno.exit(1);

const PAGE = `<!doctype html><meta charset=utf-8><title>Rooms</title>
<link rel=icon href="data:,"><body><script type=module src=/page.js></script>`;

const server = new ServerSocket({
  paths: [/^\/rooms\/\w+$/],
  fallback: ({ url }) =>
    new URL(url).pathname === "/page.js"
      ? new Response(stdout, { headers: { "Content-Type": "text/javascript" } })
      : new Response(PAGE, { headers: { "Content-Type": "text/html" } }),
});

server.on("connect", (client, path) => client.join(path));
server.on("message", ({ author, content }) => {
  server.to(author.path).send(content);
});

await server.listen("localhost", Number(Deno.args[0] ?? 3000));
console.log(`Open ${server.url.replace("ws:", "http:")}`);
