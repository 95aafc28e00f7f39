/** Servers of Redis as operators set them up, each on a free port of loopback. */

import { freePort, listening } from "./daemon.ts";

/** One process of `redis-server`. */
export class RedisServer implements AsyncDisposable {
  readonly port: number = freePort();
  readonly folder: string = Deno.makeTempDirSync();
  readonly #args: (server: RedisServer) => string[];
  #process: Deno.ChildProcess | undefined;

  /** @param args What to start it with. */
  constructor(args: (server: RedisServer) => string[] = () => []) {
    this.#args = args;
  }

  /** Starts one. */
  static async start(
    args?: (server: RedisServer) => string[],
  ): Promise<RedisServer> {
    const server = new RedisServer(args);
    await server.start();
    return server;
  }

  get url(): string {
    return `redis://127.0.0.1:${this.port}`;
  }

  async start(): Promise<void> {
    const { port, folder } = this;
    const args = this.#args(this);
    const isConfig = args[0] !== undefined && !args[0].startsWith("--");
    const config = isConfig ? args.splice(0, 1) : [];
    this.#process = new Deno.Command("redis-server", {
      args: [
        ...config, // comes first
        ...["--port", `${port}`, "--bind", "127.0.0.1", "--dir", folder],
        ...["--save", "", "--repl-diskless-sync-delay", "0"],
        ...args,
      ],
      stdin: "null",
      stdout: "null",
      stderr: "null",
    }).spawn();
    await listening(this.#process, port);
  }

  /** Sends a command by redis-cli, and gives what that prints. */
  async cli(...args: string[]): Promise<string> {
    const { stdout, stderr, success } = await new Deno.Command("redis-cli", {
      args: ["-p", `${this.port}`, ...args],
    }).output();
    const text = new TextDecoder().decode(success ? stdout : stderr).trim();
    if (!success || text.startsWith("ERR ")) throw new Error(text);
    return text;
  }

  /** Waits until a command prints something. */
  async until(pattern: RegExp, ...args: string[]): Promise<string> {
    for (;;) {
      const text = await this.cli(...args);
      if (pattern.test(text)) return text;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  async kill(): Promise<void> {
    this.#process?.kill("SIGKILL");
    await this.#process?.status;
    this.#process = undefined;
  }

  /** Lets it do nothing for a while, without a word, or go on. */
  pause(isPaused: boolean): void {
    this.#process?.kill(isPaused ? "SIGSTOP" : "SIGCONT");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
    await Deno.remove(this.folder, { recursive: true });
  }
}

/** Several servers that are one. */
export class RedisServers implements AsyncDisposable {
  constructor(readonly servers: readonly RedisServer[]) {}

  /** One of the servers. */
  at(index: number): RedisServer {
    const server = this.servers[index];
    if (!server) throw new RangeError(`There is no server ${index}`);
    return server;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const server of this.servers) await server[Symbol.asyncDispose]();
  }
}

/** Starts a cluster of three masters, and perhaps a replica of each. */
export async function redisCluster(replicas = 0): Promise<RedisServers> {
  const servers = await Promise.all(
    Array.from({ length: 3 * (1 + replicas) }, () => {
      const busPort = freePort();
      return RedisServer.start(() => [
        ...["--cluster-enabled", "yes", "--cluster-port", `${busPort}`],
        ...["--cluster-node-timeout", "1000"],
        // Also a replica that has copied nothing yet may be elected.
        ...["--cluster-replica-validity-factor", "0"],
      ]);
    }),
  );
  const cluster = new RedisServers(servers);
  const addresses = servers.map(({ port }) => `127.0.0.1:${port}`);
  await cluster.at(0).cli(
    ...["--cluster", "create", ...addresses, "--cluster-yes"],
    ...["--cluster-replicas", `${replicas}`],
  );
  for (const server of servers) {
    await server.until(/cluster_state:ok/, "CLUSTER", "INFO");
  }
  return cluster;
}

/** Starts a master, a replica of it, and a sentinel, in this order. */
export async function redisSentinel(): Promise<RedisServers> {
  const master = await RedisServer.start();
  const replica = await RedisServer.start(() => [
    ...["--replicaof", "127.0.0.1", `${master.port}`],
  ]);
  const sentinel = await RedisServer.start(({ folder }) => {
    const path = `${folder}/sentinel.conf`;
    Deno.writeTextFileSync(
      path,
      [
        `sentinel monitor main 127.0.0.1 ${master.port} 1`,
        "sentinel down-after-milliseconds main 1000",
        "sentinel failover-timeout main 5000",
      ].join("\n"),
    );
    return [path, "--sentinel"];
  });
  await replica.until(/master_link_status:up/, "INFO", "replication");
  await sentinel.until(/num-slaves\n1/, "SENTINEL", "MASTER", "main");
  return new RedisServers([master, replica, sentinel]);
}

/** What `openssl` makes: an authority of its own, and what that has signed. */
export interface Certificates {
  readonly folder: string;
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

/** Makes certificates for localhost. */
export async function certificates(folder: string): Promise<Certificates> {
  const curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"];
  await openssl(folder, [
    ...["req", "-x509", ...curve, "-nodes", "-days", "2"],
    ...["-subj", "/CN=authority", "-keyout", "ca.key", "-out", "ca.crt"],
  ]);
  await openssl(folder, [
    ...["req", ...curve, "-nodes", "-subj", "/CN=localhost"],
    ...["-keyout", "own.key", "-out", "own.csr"],
  ]);
  Deno.writeTextFileSync(
    `${folder}/names`,
    "subjectAltName=DNS:localhost,IP:127.0.0.1",
  );
  await openssl(folder, [
    ...["x509", "-req", "-in", "own.csr", "-CA", "ca.crt", "-CAkey", "ca.key"],
    ...["-CAcreateserial", "-days", "2", "-extfile", "names"],
    ...["-out", "own.crt"],
  ]);
  const read = (name: string) => Deno.readTextFileSync(`${folder}/${name}`);
  return {
    folder,
    ca: read("ca.crt"),
    cert: read("own.crt"),
    key: read("own.key"),
  };
}

async function openssl(cwd: string, args: string[]): Promise<void> {
  const { success, stderr } = await new Deno.Command("openssl", { args, cwd })
    .output();
  if (!success) throw new Error(new TextDecoder().decode(stderr));
}
