/** Servers of NATS as operators set them up, each on a free port of loopback. */

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
