/** A client over sockets that do what the test says, and what it has told. */

import { assertStrictEquals } from "@std/assert";
import type { ClientOptions } from "../../client.ts";
import { ClientSocket } from "./client_classes.ts";
import type { FakeWebSockets } from "./fake_websocket.ts";

/** Where it connects to. */
export const URL = "ws://example.test/";

/** Returns a class of clients that note what they tell. */
function recording(Base: typeof ClientSocket) {
  return class extends Base {
    readonly recorded: string[] = [];

    constructor(options: ClientOptions = { reconnect: true }) {
      super(options);
      this.on("connect", () => this.recorded.push("connect"));
      this.on(
        "close",
        (code, reason) => this.recorded.push(`close ${code}${reason}`),
      );
      this.on("disconnect", (code, _reason, cause) => {
        this.recorded.push(`disconnect ${code} ${cause}`);
      });
      this.on("reconnecting", (attempt, delay) => {
        this.recorded.push(`reconnecting ${attempt} ${delay}`);
      });
      this.on("giveup", (error) => {
        this.recorded.push(
          `giveup ${error instanceof Error ? error.name : error}`,
        );
      });
    }
  };
}

const Recorder = recording(ClientSocket);

/** A client, and what it has told: of the class of the test that runs. */
export type RecordingClient = InstanceType<typeof Recorder>;

/** See the type. */
export const RecordingClient: typeof Recorder = new Proxy(Recorder, {
  construct: (_target, args) =>
    Reflect.construct(recording(ClientSocket), args),
});

/** Opens the first connection. */
export async function openClient(
  sockets: FakeWebSockets,
  client: ClientSocket,
): Promise<void> {
  const connecting = client.connect(URL);
  await sockets.settle();
  sockets.last.open();
  await connecting;
}

/** Lets the next attempt come, and succeed. */
export async function reconnectClient(sockets: FakeWebSockets): Promise<void> {
  const { length } = sockets.sockets;
  await sockets.wait(60_000);
  assertStrictEquals(sockets.sockets.length, length + 1);
  sockets.last.open();
  await sockets.settle();
}
