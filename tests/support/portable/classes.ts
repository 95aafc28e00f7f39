/**
 * What a client does with a WebSocket class of a package. The class, the URL of a server
 * of this library and that of a bare one are given; throws if something is not so.
 */

import {
  ClientSocket,
  ConnectError,
  type WebSocketClass,
} from "../../../client.ts";

function equal(actual: unknown, expected: unknown): void {
  const [is, should] = [JSON.stringify(actual), JSON.stringify(expected)];
  if (is !== should) throw new Error(`Expected ${should}, but got ${is}`);
}

/**
 * Uses a class for all that a client does.
 *
 * @param isTold Whether the reason of a refusal is known.
 */
export async function tryClass(
  WebSocket: WebSocketClass,
  url: string,
  bare: string,
  isTold: boolean,
): Promise<void> {
  const webSocket = { WebSocket };
  const client = new ClientSocket<{ incoming: unknown; reply: number }>({
    webSocket,
    headers: { "X-Test": "yes" },
  });
  const greeting = client.waitFor("message");
  await client.connect(`${url}/headers`);
  equal((await greeting)[0].content, "yes");
  equal(client.connection?.protocol, "");
  equal(await client.request({ type: "double", n: 4 }), 8);
  await client.close();

  await client.connect(`${url}/close`);
  const closed = client.waitFor("close");
  client.send({ code: 4001, reason: "enough" });
  equal((await closed).slice(0, 3), [4001, "enough", "peer"]);

  await client.connect(`${url}/echo`);
  const bytes = client.waitFor("message");
  client.send(new Uint8Array([1, 2, 3]));
  equal([...(await bytes)[0].bytes], [1, 2, 3]);
  const ended = client.waitFor("disconnect");
  client.terminate();
  equal((await ended).slice(0, 3), [1006, "", "local"]);

  // A server that selects none of the subprotocols, which some classes do not accept.
  await client.connect(`${bare}/ignore`);
  await client.close(4001, "bye");
  equal(client.disconnection?.code, 4001);

  for (const status of [401, 503]) {
    const error = await client.connect(`${bare}/status-${status}`).catch((
      error,
    ) => error);
    if (!(error instanceof ConnectError)) throw new Error(`Got ${error}`);
    equal(
      [error.kind, error.status],
      isTold ? ["refused", status] : [undefined, undefined],
    );
  }
  const signal = AbortSignal.timeout(100);
  const error = await client.connect(`${url}/never`, { signal })
    .catch((error) => error);
  equal(error.name, "TimeoutError");
}
