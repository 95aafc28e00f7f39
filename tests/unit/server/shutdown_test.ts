import { assert, assertEquals } from "@std/assert";
import {
  ClientShutdown,
  resolveShutdownOptions,
} from "../../../core/server/shutdown.ts";
import { busyFor } from "../../support/busy.ts";

/** Connections that take a while to close, and end at once. */
function slowClients(count: number) {
  const clients = new Set<{ readyState: number; close(): Promise<void> }>();
  const closed: unknown[][] = [];
  for (let i = 0; i < count; i++) {
    const client = {
      readyState: 1,
      close(...args: unknown[]) {
        if (this.readyState === 1) {
          busyFor(1);
          closed.push(args);
        }
        this.readyState = 3;
        return Promise.resolve();
      },
    };
    clients.add(client);
  }
  return { clients, closed };
}

Deno.test("ClientShutdown closes all, in slices of the event loop", async () => {
  const { clients, closed } = slowClients(60);
  const shutdown = new ClientShutdown(clients);
  const plan = resolveShutdownOptions({ code: 4000, reason: "bye" });
  const done = shutdown.closeAll(plan);
  const first = closed.length;
  assert(first > 0 && first < 30, `${first} at once`);
  let turns = 0;
  const timer = setInterval(() => turns++, 0);
  await done;
  clearInterval(timer);
  assert(turns > 0, "the event loop has stood still");
  assertEquals(closed, Array(60).fill([4000, "bye"]));
});

Deno.test("ClientShutdown closes few at once", async () => {
  const { clients, closed } = slowClients(1);
  const done = new ClientShutdown(clients).closeAll(resolveShutdownOptions({}));
  assertEquals(closed, [[1001, ""]]);
  await done;
});
