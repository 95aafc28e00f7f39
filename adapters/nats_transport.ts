/**
 * Connects the client of NATS over TCP and TLS.
 *
 * The transport of `@nats-io/transport-node` removes the listeners of a socket before it
 * destroys it. In Deno 2.9, a connection that NATS refuses or ends is then an uncaught
 * error, which ends the process. Here, a socket has a listener for errors for its whole
 * life.
 *
 * @module
 */

import { lookup } from "node:dns/promises";
import { readFile } from "node:fs/promises";
import { connect as connectTcp, isIP, type Socket } from "node:net";
import { connect as connectTls, type ConnectionOptions } from "node:tls";
import type {
  ConnectionOptions as NatsConnectionOptions,
  NatsConnection,
  Server,
  ServerInfo,
  TlsOptions,
} from "@nats-io/nats-core";
import {
  checkOptions,
  extractProtocolMessage,
  INFO,
  NatsConnectionImpl,
  setTransportFactory,
  type Transport,
} from "@nats-io/nats-core/internal";
import { concatBytes } from "../core/util/concat_bytes.ts";

/**
 * Connects to NATS.
 *
 * @param options The options of the client.
 * @returns A promise of the connection. It rejects if no server accepts the client.
 */
export function connectNats(
  options: NatsConnectionOptions,
): Promise<NatsConnection> {
  // The client has one factory for the process, which other users of it also set.
  setTransportFactory({
    factory: () => new SocketTransport(),
    dnsResolveFn: resolveHost,
  });
  return NatsConnectionImpl.connect(options);
}

async function resolveHost(host: string): Promise<string[]> {
  const found = await lookup(host, { all: true });
  return found.map(({ address }) => address);
}

/** A TCP or TLS connection to a server of NATS. */
class SocketTransport implements Transport {
  readonly lang: string = "nats.js";
  readonly version: string = "3.4.0";
  closeError?: Error;
  #socket: Socket | undefined;
  #isEncrypted = false;
  /** Whether the client has taken over the connection. */
  #isConnected = false;
  #isClosed = false;
  /** The error of the socket, until it closes. */
  #error: Error | undefined;
  /** The bytes that have arrived and that the client has not read. */
  #chunks: Uint8Array[] = [];
  /** Resolves when something arrives or the socket closes. */
  #changed = Promise.withResolvers<void>();
  /** Rejects when the socket closes before it is connected. */
  readonly #failed = Promise.withResolvers<never>();
  readonly #closed = Promise.withResolvers<void | Error>();

  constructor() {
    this.#failed.promise.catch(() => {}); // nobody may be waiting for it
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  async connect(
    server: Server,
    options: NatsConnectionOptions,
  ): Promise<void> {
    const { tls } = options;
    const { hostname: host, port } = server;
    const tcp = connectTcp({ host, port, noDelay: true });
    await this.#opened(tcp, "connect");
    if (tls?.handshakeFirst) await this.#startTls(tcp, server, tls);
    const info = await this.#readInfo();
    checkOptions(info, options);
    const isWanted = info.tls_required || info.tls_available && tls !== null;
    if (isWanted && !this.#isEncrypted) {
      await this.#startTls(tcp, server, tls);
    }
    this.#throwIfClosed();
    this.#isConnected = true;
  }

  /** Encrypts the connection, and checks the certificate of the server. */
  async #startTls(
    socket: Socket,
    { hostname: host, tlsName }: Server,
    tls: TlsOptions | null | undefined,
  ): Promise<void> {
    const name = tlsName || host;
    const options: ConnectionOptions = {
      ...await readCertificates(tls ?? {}),
      socket,
      host: name,
      ...isIP(name) === 0 && { servername: name },
    };
    this.#throwIfClosed();
    // What arrives from now on is encrypted.
    socket.removeListener("data", this.#receive);
    await this.#opened(connectTls(options), "secureConnect");
    this.#isEncrypted = true;
  }

  /** Takes a socket, and waits until it is open. */
  async #opened(
    socket: Socket,
    event: "connect" | "secureConnect",
  ): Promise<void> {
    this.#socket = socket;
    socket.on("error", (error) => {
      this.#error ??= error;
      socket.destroy();
    });
    socket.on("close", () => this.#end());
    const { promise, resolve } = Promise.withResolvers<void>();
    socket.once(event, () => resolve());
    await Promise.race([promise, this.#failed.promise]);
    this.#throwIfClosed();
    socket.on("data", this.#receive);
  }

  readonly #receive = (chunk: Uint8Array): void => {
    this.#chunks.push(chunk);
    this.#changed.resolve();
  };

  /** Waits for the first line of the server, and leaves it to be read by the client. */
  async #readInfo(): Promise<ServerInfo> {
    for (;;) {
      await Promise.race([this.#changed.promise, this.#failed.promise]);
      this.#throwIfClosed();
      const received = concatBytes(this.#chunks);
      const line = extractProtocolMessage(received);
      this.#chunks = [received];
      this.#changed = Promise.withResolvers();
      if (line === "") {
        if (received.length <= MAX_INFO_BYTES) continue;
        throw new Error(NO_NATS);
      }
      const json = INFO.exec(line)?.[1];
      if (json === undefined) throw new Error(NO_NATS);
      this.#changed.resolve();
      return JSON.parse(json);
    }
  }

  #throwIfClosed(): void {
    if (this.#isClosed) throw this.#error ?? new Error("The client was closed");
  }

  async *[Symbol.asyncIterator](): AsyncIterableIterator<Uint8Array> {
    for (;;) {
      await this.#changed.promise;
      const chunks = this.#chunks;
      this.#chunks = [];
      this.#changed = Promise.withResolvers();
      if (this.#isClosed) this.#changed.resolve();
      if (this.#isClosed && chunks.length === 0) return;
      yield* chunks;
    }
  }

  isEncrypted(): boolean {
    return this.#isEncrypted;
  }

  send(frame: Uint8Array): void {
    if (!this.#isClosed) this.#socket?.write(frame);
  }

  close(error?: Error): Promise<void> {
    if (error) this.closeError = error;
    this.#end();
    return Promise.resolve();
  }

  disconnect(): void {
    this.#end();
  }

  discard(): void {
    this.#isConnected = false; // the client does not want to hear of its end
    this.#end();
  }

  closed(): Promise<void | Error> {
    return this.#closed.promise;
  }

  /** The socket is closed, or is no longer wanted. */
  #end(): void {
    this.#socket?.destroy();
    if (this.#isClosed) return;
    this.#isClosed = true;
    if (this.#error) this.closeError ??= this.#error;
    this.#error ??= new Error("NATS has closed the connection");
    this.#failed.reject(this.#error);
    this.#changed.resolve();
    if (this.#isConnected) this.#closed.resolve(this.closeError);
  }
}

const NO_NATS = "Cannot connect to NATS: another kind of server answers";

/** The longest first line of a server, in bytes. */
const MAX_INFO_BYTES = 1024 * 1024;

/** Reads the files that the options of the client name. */
async function readCertificates(
  { handshakeFirst: _, certFile, keyFile, caFile, ...others }: TlsOptions,
): Promise<ConnectionOptions> {
  return {
    ...others,
    ...certFile !== undefined && { cert: await readFile(certFile) },
    ...keyFile !== undefined && { key: await readFile(keyFile) },
    ...caFile !== undefined && { ca: await readFile(caFile) },
  };
}
