/** Servers of NATS as operators set them up, each on a free port of loopback. */

import { connectNats } from "../../adapters/nats_transport.ts";
import { CERTIFICATE, KEY } from "./certificate.ts";
import { findInSbin, freePort, listening } from "./daemon.ts";

/** One process of `nats-server`. */
export class NatsServer implements AsyncDisposable {
  readonly port: number = freePort();
  /** The port for the other servers of its cluster. */
  readonly clusterPort: number = freePort();
  readonly folder: string = Deno.makeTempDirSync();
  #process: Deno.ChildProcess | undefined;

  constructor() {
    Deno.writeTextFileSync(this.certFile, CERTIFICATE);
    Deno.writeTextFileSync(this.keyFile, KEY);
  }

  /** Starts one with lines of configuration. */
  static async start(config = ""): Promise<NatsServer> {
    const server = new NatsServer();
    await server.start(config);
    return server;
  }

  /** Starts a cluster with JetStream, and waits until it has a leader. */
  static async cluster(size: number): Promise<NatsServer[]> {
    const servers = Array.from({ length: size }, () => new NatsServer());
    await Promise.all(servers.map((server) => server.startIn(servers)));
    return servers;
  }

  get address(): string {
    return `127.0.0.1:${this.port}`;
  }

  /** What the others of its cluster call it. */
  get name(): string {
    return `s${this.port}`;
  }

  get certFile(): string {
    return `${this.folder}/cert.pem`;
  }

  get keyFile(): string {
    return `${this.folder}/key.pem`;
  }

  /** The lines that encrypt its connections. */
  tls(...more: string[]): string {
    const lines = [
      `cert_file: "${this.certFile}"`,
      `key_file: "${this.keyFile}"`,
    ];
    return `tls { ${[...lines, ...more].join(", ")} }`;
  }

  /** The lines that make it store messages. */
  get jetStream(): string {
    return `jetstream { store_dir: "${this.folder}" }`;
  }

  async start(config: string): Promise<void> {
    const file = await this.#write(config);
    this.#process = new Deno.Command(await findInSbin("nats-server"), {
      args: ["-c", file],
      stdin: "null",
      stdout: "null",
      stderr: "null",
    }).spawn();
    await listening(this.#process, this.port);
  }

  /** Starts it as one of a cluster. */
  startIn(servers: readonly NatsServer[]): Promise<void> {
    const routes = servers.map(({ clusterPort }) =>
      `nats://127.0.0.1:${clusterPort}`
    );
    return this.start(`
      server_name: ${this.name}
      ${this.jetStream}
      cluster {
        name: test
        listen: 127.0.0.1:${this.clusterPort}
        routes: [${routes}]
      }`);
  }

  /** Lets it read another configuration while it runs. */
  async reload(config: string): Promise<void> {
    await this.#write(config);
    this.#process?.kill("SIGHUP");
  }

  /** Lets it do nothing, without a word, or go on. */
  pause(isPaused: boolean): void {
    this.#process?.kill(isPaused ? "SIGSTOP" : "SIGCONT");
  }

  /** Forgets what it has stored; it must not run. */
  async forget(): Promise<void> {
    await Deno.remove(`${this.folder}/jetstream`, { recursive: true });
  }

  /** Ends it as `kill -9` does, and starts it with another configuration. */
  async restart(config: string): Promise<void> {
    await this.kill();
    await this.start(config);
  }

  /** Sends a request to the API of JetStream. */
  async api<Answer = unknown>(name: string, body = ""): Promise<Answer> {
    const connection = await connectNats({ servers: this.address });
    const answer = await connection.request(`$JS.API.${name}`, body, {
      timeout: 5_000,
    });
    await connection.close();
    const result = answer.json<Answer & { error?: unknown }>();
    if (result.error) throw new Error(JSON.stringify(result.error));
    return result;
  }

  /** Changes the configuration of the stream of `ws-events`. */
  async updateStream(changes: Record<string, unknown>): Promise<void> {
    const { config } = await this.api<{ config: object }>(
      "STREAM.INFO.ws-events",
    );
    const body = JSON.stringify({ ...config, ...changes });
    await this.api("STREAM.UPDATE.ws-events", body);
  }

  async kill(): Promise<void> {
    this.#process?.kill("SIGKILL");
    await this.#process?.status;
    this.#process = undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
    await Deno.remove(this.folder, { recursive: true });
  }

  async #write(config: string): Promise<string> {
    const file = `${this.folder}/nats.conf`;
    await Deno.writeTextFile(file, `listen: ${this.address}\n${config}\n`);
    return file;
  }
}

/** The server that leads the stream of `ws-events` now. */
export async function leaderOf(
  cluster: readonly NatsServer[],
): Promise<NatsServer> {
  for (const server of cluster) {
    const { cluster: { leader } } = await server.api<
      { cluster: { leader?: string } }
    >("STREAM.INFO.ws-events");
    const found = cluster.find(({ name }) => name === leader);
    if (found) return found;
  }
  throw new Error("The stream has no leader");
}
