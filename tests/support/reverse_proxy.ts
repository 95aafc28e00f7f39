/** Real proxies, each a process of its own, run by the files of `examples/deploy/`. */

import { socketFactories } from "../../core/runtime/websocket.ts";
import { CERTIFICATE, KEY } from "./certificate.ts";
import { findInSbin, freePort, listening } from "./daemon.ts";

/** Which proxies there are. */
export type Kind = "nginx" | "caddy";

/** A proxy in front of servers of this machine. */
export class ReverseProxy implements AsyncDisposable {
  readonly port = freePort();
  readonly #folder = Deno.makeTempDirSync();
  readonly #kind: Kind;
  readonly #client = Deno.createHttpClient({ caCerts: [CERTIFICATE] });
  #process: Deno.ChildProcess | undefined;

  private constructor(kind: Kind) {
    this.#kind = kind;
    // Clients trust the certificate, and nobody else.
    socketFactories.set(this.host, (url, protocols, headers) => {
      return new WebSocket(url, {
        protocols: [...protocols],
        client: this.#client,
        ...headers !== undefined && { headers },
      });
    });
  }

  /**
   * Starts a proxy by its file.
   *
   * @param kind Which.
   * @param ports The servers' ports, as many as stand in the file.
   * @param changes What is to stand there instead of something that does.
   */
  static async start(
    kind: Kind,
    ports: readonly number[],
    changes: Readonly<Record<string, string>> = {},
  ): Promise<ReverseProxy> {
    const front = new ReverseProxy(kind);
    const own = kind === "nginx" ? front.#nginxSite() : front.#caddySite();
    const servers = ports.map((port, i) => [
      `127.0.0.1:${3001 + i}`,
      `127.0.0.1:${port}`,
    ]);
    const file = { nginx: "nginx.conf", caddy: "Caddyfile" }[kind];
    const path = new URL(`../../examples/deploy/${file}`, import.meta.url);
    let site = await Deno.readTextFile(path);
    for (
      const [from = "", to = ""] of [
        ...own,
        ...servers,
        ...Object.entries(changes),
      ]
    ) {
      if (!site.includes(from)) throw new Error(`No "${from}" in ${file}`);
      site = site.replace(from, to);
    }
    await front.#write("cert.pem", CERTIFICATE);
    await front.#write("key.pem", KEY);
    if (kind === "nginx") {
      await front.#write("site.conf", site);
      await front.#write("main.conf", mainOf(front.#folder));
    } else await front.#write("Caddyfile", `${GLOBAL}\n${site}`);
    await front.run();
    return front;
  }

  /** Where it is. */
  get host(): string {
    return `localhost:${this.port}`;
  }

  /** Where to connect to. */
  get url(): string {
    return `wss://${this.host}`;
  }

  /** Asks for a page. */
  fetch(path: string, init: RequestInit = {}): Promise<Response> {
    const { host } = this;
    return fetch(`https://${host}${path}`, { ...init, client: this.#client });
  }

  /** Starts it, once more if it was killed. */
  async run(): Promise<void> {
    const folder = this.#folder;
    const [program, ...args] = this.#kind === "nginx"
      ? [
        await findInSbin("nginx"),
        "-p",
        folder,
        "-c",
        "main.conf",
        "-e",
        "stderr",
      ]
      : ["caddy", "run", "--config", "Caddyfile", "--adapter", "caddyfile"];
    this.#process = new Deno.Command(program!, {
      args,
      cwd: folder,
      env: { XDG_DATA_HOME: folder, XDG_CONFIG_HOME: folder, HOME: folder },
      stdin: "null",
      stdout: "null",
      stderr: "null",
    }).spawn();
    await listening(this.#process, this.port);
  }

  /** Ends it at once, as `kill -9` does, and its workers. */
  async kill(): Promise<void> {
    if (this.#process === undefined) return;
    const { pid, status } = this.#process;
    const workers = await this.workers();
    Deno.kill(pid, "SIGKILL");
    for (const worker of workers) {
      try {
        Deno.kill(worker, "SIGKILL");
      } catch (error) {
        // It has ended by itself, as it had nothing left to do.
        if (!(error instanceof Deno.errors.NotFound)) throw error;
      }
    }
    await status;
    this.#process = undefined;
  }

  /** The processes that it has started. */
  async workers(): Promise<number[]> {
    const pid = this.#process?.pid;
    const list = await Deno.readTextFile(`/proc/${pid}/task/${pid}/children`);
    return list.trim().split(/\s+/).filter(Boolean).map(Number);
  }

  /** Lets it read its file anew. */
  reload(): void {
    this.#process?.kill("SIGHUP");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    socketFactories.delete(this.host);
    this.#client.close();
    await this.kill();
    await Deno.remove(this.#folder, { recursive: true });
  }

  #write(name: string, text: string): Promise<void> {
    return Deno.writeTextFile(`${this.#folder}/${name}`, text);
  }

  #nginxSite(): [string, string][] {
    const own = "/etc/ssl/live.example.com";
    return [
      ["listen 443 ssl;", `listen 127.0.0.1:${this.port} ssl;`],
      ["live.example.com;", "localhost;"],
      [`${own}/fullchain.pem`, `${this.#folder}/cert.pem`],
      [`${own}/privkey.pem`, `${this.#folder}/key.pem`],
    ];
  }

  #caddySite(): [string, string][] {
    const site = `https://localhost:${this.port} {
	bind 127.0.0.1
	tls cert.pem key.pem`;
    return [["live.example.com {", site]];
  }
}

const GLOBAL = `{
	admin off
	auto_https disable_redirects
}
`;

/** What the package of a distribution has around a site. */
function mainOf(folder: string): string {
  const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
    .map((name) => `  ${name}_temp_path ${folder}/${name};`);
  return `daemon off;
pid ${folder}/pid;
worker_processes 1;
events { worker_connections 256; }
http {
  access_log off;
${temporary.join("\n")}
  include ${folder}/site.conf;
}
`;
}
