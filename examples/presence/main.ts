/**
 * Who is online, on two servers: each client gets the list of members, and then every
 * change. Two windows of one user are one member, also at different servers.
 *
 *     deno run --allow-net examples/presence/main.ts
 *
 * The servers share one process here. On several machines only the adapter is another
 * one: `redis()` or `nats()`.
 */

import { ClientSocket, type Member, ServerSocket } from "@ws/events";
import { broadcastChannel } from "@ws/events/broadcast-channel";

interface Status {
  status: "online" | "away";
}

type Outgoing =
  | { type: "members"; members: readonly Member<Status>[] }
  | { type: "join" | "update" | "leave"; member: Member<Status> };

interface Types {
  incoming: Status["status"];
  outgoing: Outgoing;
  context: { user: string };
  presence: Status;
}

async function startServer(): Promise<ServerSocket<Types>> {
  const server = new ServerSocket<Types>({
    adapter: broadcastChannel({ name: "presence-example" }),
    authorize: ({ url }) => ({ user: new URL(url).pathname.slice(1) }),
    presence: {
      key: ({ context }) => context.user,
      data: () => ({ status: "online" }),
    },
  });
  server.on("connect", async (client) => {
    client.join("lobby");
    const members = await server.members("lobby");
    await client.send({ type: "members", members });
  });
  server.on("message", ({ author, data }) => {
    server.updatePresence(author, { status: data });
  });
  // Every server hears of every change, and tells its own clients.
  for (const type of ["join", "update", "leave"] as const) {
    server.on(type, (member, room) => {
      for (const client of server.to(room).members) {
        client.send({ type, member });
      }
    });
  }
  await server.listen("127.0.0.1", 0);
  return server;
}

/** Opens a window of a user, which may show what it is told. */
async function openWindow(
  { url }: ServerSocket<Types>,
  user: string,
  isShown = false,
) {
  const client = new ClientSocket<{ incoming: Outgoing; outgoing: string }>();
  client.on("message", ({ data }) => {
    if (!isShown) return;
    for (const { key, data: { status } } of listed(data)) {
      console.log(`${data.type}: ${key} is ${status}`);
    }
  });
  const listing = client.waitFor("message", {
    filter: ({ data }) => data.type === "members",
  });
  await client.connect(`${url}/${user}`);
  await listing;
  return client;
}

function listed(data: Outgoing): readonly Member<Status>[] {
  return data.type === "members" ? data.members : [data.member];
}

/** Waits until a window is told a change. */
function change(
  window: ClientSocket<{ incoming: Outgoing; outgoing: string }>,
  type: Outgoing["type"],
) {
  return window.waitFor("message", {
    filter: ({ data }) => data.type === type,
  });
}

const [north, south] = [await startServer(), await startServer()];
const ada = await openWindow(north, "Ada", true);

const joined = change(ada, "join");
const grace = await openWindow(south, "Grace");
await joined;
const other = await openWindow(north, "Grace"); // no join: she is there

const updated = change(ada, "update");
grace.send("away");
await updated;

const back = change(ada, "update");
await grace.close(); // no leave: she has another window, where she is online
await back;
const left = change(ada, "leave");
await other.close();
await left;

await ada.close();
for (const server of [north, south]) await server.close();
