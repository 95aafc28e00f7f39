/** What happens to NATS. */

import { delay } from "@std/async";
import { ClientSocket } from "@ws/events/client";
import { nats, type NatsOptions } from "@ws/events/nats";
import { connectNats } from "../adapters/nats_transport.ts";
import { leaderOf, NatsServer } from "../tests/support/nats_servers.ts";
import type { TcpProxy } from "../tests/support/tcp_proxy.ts";
import {
  comeBack,
  type Faults,
  Fleet,
  networkFaults,
  throughProxies,
  tryFault,
} from "./faulty_fleet.ts";

const user = { user: "ws", pass: "old" };

/** A fleet whose servers reach NATS through a proxy each. */
async function proxied(
  act: (
    fleet: Fleet,
    proxies: TcpProxy[],
    server: NatsServer,
  ) => Promise<void>,
  options: NatsOptions = {},
  config = (server: NatsServer) => server.jetStream,
): Promise<void> {
  await using server = new NatsServer();
  await server.start(config(server));
  await throughProxies(
    server.port,
    (url) => nats({ servers: url.replace("ws://", ""), ...options }),
    (fleet, proxies) => act(fleet, proxies, server),
  );
}

/** The subject of a room's messages. */
function subjectOf(room: string): string {
  const bytes = new TextEncoder().encode(`room ${room}`);
  return `ws-events.${bytes.toHex()}`;
}

/** Lets somebody join rooms of the first server. */
async function join(fleet: Fleet, rooms: readonly string[]): Promise<void> {
  const [node] = fleet.nodes;
  for (const room of rooms) {
    const client = new ClientSocket();
    await client.connect(`${node?.server.url}/${room}`);
  }
}

/** Fills the disk of JetStream with another stream. */
async function fill(server: NatsServer): Promise<void> {
  const config = { name: "filler", subjects: ["filler"] };
  await server.api("STREAM.CREATE.filler", JSON.stringify(config));
  const connection = await connectNats({ servers: server.address });
  const data = new Uint8Array(100_000);
  for (let isFull = false; !isFull;) {
    const answer = await connection.request("filler", data);
    isFull = answer.json<{ error?: unknown }>().error !== undefined;
  }
  await connection.close();
}

/** @param back The number of clients that come back at once. */
export const natsFaults = (back: number): Faults => ({
  ...networkFaults(proxied, "INFO never comes"),
  "NATS stands still for a while": () =>
    proxied(async (fleet, _proxies, server) => {
      await tryFault(fleet, async (told) => {
        server.pause(true);
        await told(/^down/);
        server.pause(false);
      });
    }),
  "the password is changed": () => {
    let pass = "old";
    const config = (server: NatsServer) =>
      `${server.jetStream}\nauthorization { user: ws, password: ${pass} }`;
    return proxied(
      async (fleet, _proxies, server) => {
        await tryFault(fleet, async (told) => {
          pass = "new";
          await server.reload(config(server));
          await told(/^down: .*(authorization|authentication)/i);
          pass = "old";
          await server.reload(config(server));
        });
      },
      user,
      config,
    );
  },
  "a subject is denied": () =>
    proxied(
      (fleet) =>
        tryFault(fleet, async (told) => {
          await join(fleet, ["denied"]);
          await told(/^error: .*denies it/);
        }),
      user,
      (server) =>
        `${server.jetStream}
        authorization { users: [{
          user: ws, password: old,
          permissions { subscribe: { deny: "${subjectOf("denied")}" } }
        }] }`,
    ),
  "there are too many subscriptions": () =>
    proxied(
      (fleet) =>
        tryFault(fleet, async (told) => {
          await join(fleet, Array.from({ length: 20 }, (_, i) => `room${i}`));
          await told(/^error: .*no more subscriptions/);
        }),
      {},
      (server) => `${server.jetStream}\nmax_subscriptions: 16`,
    ),
  "the stream is full, and refuses messages": () =>
    proxied(async (fleet, _proxies, server) => {
      await tryFault(fleet, async (told) => {
        await server.updateStream({ max_bytes: 1, discard: "new" });
        await told(/store/);
        await delay(3_000);
        await server.updateStream({ max_bytes: -1, discard: "old" });
      });
    }),
  "the stream is full, and forgets messages": () =>
    proxied(async (fleet, _proxies, server) => {
      await tryFault(fleet, async (told) => {
        await server.updateStream({ max_bytes: 2_000 });
        await delay(1_000);
        await server.updateStream({ max_bytes: -1 });
        fleet.away(false); // it is noticed when somebody comes back
        await told(/removed/);
      });
    }),
  "the disk is full": () =>
    proxied(
      (fleet, _proxies, server) =>
        tryFault(fleet, async (told) => {
          await fill(server);
          await told(/store/);
          await delay(3_000);
          await server.api("STREAM.DELETE.filler");
        }),
      {},
      ({ folder }) =>
        `jetstream { store_dir: "${folder}", max_file_store: 4MB }`,
    ),
  "JetStream is switched off for a while": () =>
    proxied(async (fleet, _proxies, server) => {
      await tryFault(fleet, async (told) => {
        await server.restart("");
        await told(/JetStream/);
        await delay(3_000);
        await server.restart(server.jetStream);
      });
    }),
  "NATS restarts empty, as it had stored in memory": () =>
    proxied(
      (fleet, _proxies, server) =>
        tryFault(fleet, async (told) => {
          await server.kill();
          await server.forget();
          await server.start(server.jetStream);
          await told(/^down/);
        }),
    ),
  "NATS is killed, and comes back": () =>
    proxied(async (fleet, _proxies, server) => {
      await tryFault(fleet, async (told) => {
        await server.restart(server.jetStream);
        await told(/^down/);
      });
    }),
  "the leader of three stops": async () => {
    const servers = await NatsServer.cluster(3);
    const addresses = servers.map(({ address }) => address);
    {
      await using fleet = new Fleet(
        addresses.map((address) =>
          nats({ servers: [address, ...addresses], replicas: 3 })
        ),
      );
      await tryFault(fleet, async (told) => {
        const leader = await leaderOf(servers);
        await leader.kill();
        await told(/./);
      });
    }
    for (const server of servers) await server[Symbol.asyncDispose]();
  },
  [`${back} clients come back at once`]: () =>
    proxied((fleet) => comeBack(fleet, back)),
});
