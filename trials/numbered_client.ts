// A client that reads numbered messages, and counts the ones that it misses.

import { ClientSocket } from "@ws/events/client";

/** Reads messages such as `name 7`, whose numbers each sender counts up. */
export class NumberedClient {
  readonly client: ClientSocket = new ClientSocket({
    reconnect: { initialDelay: 20, maxDelay: 200 },
  });
  /** The last number of each sender. */
  readonly last = new Map<string, number>();
  received = 0;
  gaps = 0;
  doubles = 0;
  /** How often the event `recovery` was `true`. */
  recovered = 0;
  /** How often the event `recovery` was `false`. */
  lost = 0;

  constructor(readonly room: string) {
    this.client.on("message", ({ content }) => {
      const [name = "", text] = content.split(" ");
      const number = Number(text);
      const last = this.last.get(name);
      this.received++;
      if (last !== undefined && number > last + 1) this.gaps++;
      if (last !== undefined && number <= last) this.doubles++;
      this.last.set(name, number);
    });
    this.client.on("recovery", (recovered) => {
      if (recovered) this.recovered++;
      else {
        this.lost++;
        this.last.clear();
      }
    });
  }
}
