/** What happens to Redis. */

import { delay } from "@std/async";
import { createClient, createCluster, createSentinel } from "@redis/client";
import { ClientSocket } from "@ws/events/client";
import { redis } from "@ws/events/redis";
import {
  redisCluster,
  redisSentinel,
  RedisServer,
} from "../tests/support/redis_servers.ts";
import type { TcpProxy } from "../tests/support/tcp_proxy.ts";
import {
  comeBack,
  type Faults,
  Fleet,
  networkFaults,
  throughProxies,
  tryFault,
} from "./faulty_fleet.ts";

/** A fleet whose servers reach Redis through a proxy each. */
async function proxied(
  act: (
    fleet: Fleet,
    proxies: TcpProxy[],
    server: RedisServer,
  ) => Promise<void>,
): Promise<void> {
  await using server = await RedisServer.start();
  await throughProxies(
    server.port,
    (url) => redis({ url: url.replace("ws:", "redis:") }),
    (fleet, proxies) => act(fleet, proxies, server),
  );
}

/** @param back The number of clients that come back at once. */
export const redisFaults = (back: number): Faults => ({
  ...networkFaults(proxied, "HELLO is never answered"),
  "the password is changed": async () => {
    await using server = await RedisServer.start(() => [
      ...["--requirepass", "old"],
    ]);
    let password = "old";
    const client = () => createClient({ url: server.url, password });
    await using fleet = new Fleet([1, 2, 3].map(() => redis({ client })));
    await tryFault(fleet, async (told) => {
      await server.cli("-a", "old", "CONFIG", "SET", "requirepass", "new");
      await server.cli("-a", "new", "CLIENT", "KILL", "SKIPME", "yes");
      await told(/^down: .*WRONGPASS/);
      password = "new";
    });
  },
  "Redis evicts": () =>
    proxied(async (fleet, _proxies, server) => {
      await server.cli("CONFIG", "SET", "maxmemory-policy", "volatile-random");
      await tryFault(fleet, async (told) => {
        await server.cli("CONFIG", "SET", "maxmemory", "1");
        await delay(300);
        await server.cli("CONFIG", "SET", "maxmemory", "0");
        await told(/EPOCH|OOM/);
      });
    }),
  "Redis is out of memory": () =>
    proxied(async (fleet, _proxies, server) => {
      await tryFault(fleet, async (told) => {
        await server.cli("CONFIG", "SET", "maxmemory", "1");
        await told(/^down: .*OOM/);
        await delay(3_000);
        await server.cli("CONFIG", "SET", "maxmemory", "0");
      });
    }),
  "a replica that lagged is promoted": () =>
    proxied(async (fleet, proxies, server) => {
      await using replica = await RedisServer.start(() => [
        ...["--replicaof", "127.0.0.1", `${server.port}`],
      ]);
      await replica.until(/master_link_status:up/, "INFO", "replication");
      await tryFault(fleet, async (told) => {
        replica.pause(true);
        await delay(500);
        await server.kill();
        await told(/^down/);
        replica.pause(false);
        await replica.cli("REPLICAOF", "NO", "ONE");
        for (const proxy of proxies) proxy.target = replica.port;
        await fleet.up();
      });
      for (const node of fleet.nodes) await node.server.close();
    }),
  "Sentinel fails over": async () => {
    await using servers = await redisSentinel();
    const sentinelRootNodes = [{ host: "127.0.0.1", port: servers.at(2).port }];
    const client = () => createSentinel({ name: "main", sentinelRootNodes });
    await using fleet = new Fleet([1, 2, 3].map(() => redis({ client })));
    await tryFault(fleet, async (told) => {
      await servers.at(0).kill();
      await told(/^down/);
    });
  },
  "a master of a cluster fails over": async () => {
    await using cluster = await redisCluster(1);
    const rootNodes = cluster.servers.map(({ url }) => ({ url }));
    const client = () => createCluster({ rootNodes });
    await using fleet = new Fleet([1, 2, 3].map(() => redis({ client })));
    await tryFault(fleet, async (told) => {
      const slot = await cluster.at(0).cli(
        ...["CLUSTER", "KEYSLOT", "{ws-events:}log"],
      );
      const owner = Math.min(2, Math.floor(Number(slot) / 5_461));
      await cluster.at(owner).kill();
      await told(/^down/);
    });
  },
  "one channel is denied": () =>
    proxied(async (fleet, _proxies, server) => {
      await tryFault(fleet, async (told) => {
        await server.cli(
          ...["ACL", "SETUSER", "default", "resetchannels"],
          ...["all", "fleet", "to?*", "server*", "room?a", "room?b", "room?c"]
            .map((channel) => `&ws-events:${channel}`),
        );
        const [node] = fleet.nodes;
        const { url = "" } = node?.server ?? {};
        await using client = new ClientSocket();
        await client.connect(`${url}/denied`);
        await told(/^error: .*(NOPERM|permissions)/);
      });
    }),
  [`${back} clients come back at once`]: () =>
    proxied((fleet) => comeBack(fleet, back)),
});
