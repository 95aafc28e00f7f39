/** What a page or a program in Node may write with the client, in ES2022. */

import {
  type ClientOptions,
  ClientSocket,
  ConnectError,
  type Connection,
  isTransient,
} from "@ws/events/client";

interface Types {
  incoming: { type: "chat"; text: string } | { type: "count"; of: number };
  outgoing: { type: "chat"; text: string };
}

const options: ClientOptions<Types> = {
  reconnect: { maxAttempts: 3, shouldReconnect: (end) => isTransient(end) },
  headers: { Authorization: "Bearer token" },
};

class Chat extends ClientSocket<Types> {
  readonly texts: string[] = [];

  protected override onConnect(connection: Connection<Types>): void {
    connection.send({ type: "chat", text: "hello" });
  }
}

export async function main(url: URL): Promise<void> {
  const chat = new Chat(options);
  chat.on("message:chat", ({ data }) => chat.texts.push(data.text));
  chat.on("disconnect", (code, reason, cause) => {
    chat.texts.push(`${code + 0} ${reason.trim()} ${cause}`);
  });
  chat.addEventListener("close", (event) => {
    chat.texts.push(event.reason);
  }, { once: true, signal: AbortSignal.timeout(1_000) });
  // @ts-expect-error: there is no such event
  chat.on("mesage", () => {});
  // @ts-expect-error: there is no such type
  await chat.send({ type: "chatter", text: "" });
  try {
    await chat.connect(url, { signal: AbortSignal.timeout(1_000) });
  } catch (error) {
    if (error instanceof ConnectError) chat.texts.push(error.url);
  }
  for await (const [message] of chat.events("message")) {
    const bytes: Uint8Array = message.bytes;
    if (bytes.length > 0) break;
  }
  await chat.close(4001, "bye");
}
