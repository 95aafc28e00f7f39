/**
 * A server that can be looked into: it echoes, and shows who is connected, what
 * comes and goes, and how connections have ended, to whoever knows the password.
 *
 *     deno run --allow-net --allow-env=PASSWORD examples/inspect.ts [hostname] [port]
 *
 * Then open http://localhost:3000/inspect and log in by any name. `PASSWORD` is what
 * the browser asks for; without it a random one is printed. What is reached from
 * elsewhere needs TLS, or everybody on the way can read the password.
 */

import { inspect } from "@ws/events/inspect";
import { ServerSocket } from "@ws/events/server";

const [hostname = "localhost", port = "3000"] = Deno.args;

// Not `??`: an empty password, as of a variable that a deploy did not set, is none.
const given = Deno.env.get("PASSWORD");
const password = given || crypto.randomUUID();

const server = new ServerSocket({
  paths: [/\/live\/\w+/],
  fallback: answer,
});
const page = inspect(server);

function answer(request: Request): Response {
  if (new URL(request.url).pathname !== "/inspect") {
    return new Response("There is nothing here\n", { status: 404 });
  }
  // Before anything else: the page itself asks nobody who they are.
  if (!knowsPassword(request)) {
    return new Response("Log in first\n", {
      status: 401,
      headers: { "WWW-Authenticate": 'Basic realm="inspect", charset="UTF-8"' },
    });
  }
  return page(request);
}

function knowsPassword({ headers }: Request): boolean {
  const [scheme, encoded = ""] = (headers.get("authorization") ?? "").split(
    " ",
  );
  if (scheme !== "Basic") return false;
  try {
    return atob(encoded).replace(/^[^:]*:/, "") === password;
  } catch {
    return false;
  }
}

server.on("ready", () => {
  console.log(`Sockets at ${server.url}/live/lobby`);
  console.log(`See them at ${server.url.replace("ws", "http")}/inspect`);
  if (!given) console.log(`The password is ${password}`);
});
server.on("connect", (client, path) => client.join(path));
server.on("message", ({ author, content }) => author.send(content));

await server.listen(hostname, Number(port));

Deno.addSignalListener("SIGINT", async () => {
  await server.close();
  Deno.exit();
});
