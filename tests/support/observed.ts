/** A client over sockets that do what the test says, and what it has told. */

import { assertStrictEquals } from "@std/assert";
import { type ClientOptions, ClientSocket } from "../../client.ts";
import type { Dial } from "./dialled.ts";

/** Where it connects to. */
export const URL = "ws://example.test/";

/** A client, and what it has told. */
export class Observed extends ClientSocket {
  readonly told: string[] = [];

  constructor(options: ClientOptions = { reconnect: true }) {
    super(options);
    this.on("connect", () => this.told.push("connect"));
    this.on(
      "close",
      (code, reason) => this.told.push(`close ${code}${reason}`),
    );
    this.on("disconnect", (code, _reason, cause) => {
      this.told.push(`disconnect ${code} ${cause}`);
    });
    this.on("reconnecting", (attempt, delay) => {
      this.told.push(`reconnecting ${attempt} ${delay}`);
    });
    this.on("giveup", (error) => {
      this.told.push(`giveup ${error instanceof Error ? error.name : error}`);
    });
  }
}

/** Opens the first connection. */
export async function open(dial: Dial, client: ClientSocket): Promise<void> {
  const connecting = client.connect(URL);
  await dial.settle();
  dial.last.open();
  await connecting;
}

/** Lets the next attempt come, and succeed. */
export async function comeBack(dial: Dial): Promise<void> {
  const { length } = dial.sockets;
  await dial.wait(60_000);
  assertStrictEquals(dial.sockets.length, length + 1);
  dial.last.open();
  await dial.settle();
}
