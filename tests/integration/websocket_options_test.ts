/** Options of the runtime's `WebSocket`, as `webSocket` passes them on. */

import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { ClientSocket } from "../../client.ts";
import { ServerSocket } from "../../server.ts";
import { CERTIFICATE, KEY } from "../support/certificate.ts";
import { lacksPermission } from "../support/permissions.ts";

const ignore = await lacksPermission("net");

Deno.test({
  name: "ClientOptions.webSocket passes an HTTP client to Deno",
  ignore,
  async fn() {
    await using server = new ServerSocket();
    server.on("message", ({ author, content }) => author.send(content));
    await server.listen("localhost", 0, { cert: CERTIFICATE, key: KEY });
    using client = Deno.createHttpClient({
      caCerts: [CERTIFICATE],
      http2: false,
    });
    await using socket = new ClientSocket({ webSocket: { client } });
    await socket.connect(server.url);
    const answer = socket.waitFor("message");
    await socket.send("over TLS");
    assertEquals((await answer)[0].content, "over TLS");
  },
});

Deno.test({
  name: "ClientOptions.webSocket rejects what the runtime does not read",
  ignore,
  async fn() {
    await using server = new ServerSocket();
    await server.listen("127.0.0.1", 0);
    for (const headers of [{}, { headers: { "X-Test": "yes" } }]) {
      const socket = new ClientSocket({ webSocket: { tls: {} }, ...headers });
      await assertRejects(
        () => socket.connect(server.url),
        TypeError,
        'with the WebSocket option "tls" as this runtime does not support it',
      );
    }
  },
});

Deno.test("ClientOptions.webSocket rejects unknown names", () => {
  assertThrows(
    () => Reflect.construct(ClientSocket, [{ webSocket: { cleint: {} } }]),
    TypeError,
    'did you mean "client"?',
  );
});
