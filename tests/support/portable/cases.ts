/**
 * What a client does in every runtime that has a `WebSocket`: Deno, Node, Bun and
 * browsers. So it uses nothing else, not even an assertion library; `server.ts`
 * beside it is the other end.
 */

import {
  type ClientOptions,
  ClientSocket,
  ConnectError,
  ConnectionEndedError,
  RequestError,
} from "../../../client.ts";

/** Tries something against the server at a URL, and throws if it is not so. */
export type Case = (url: string) => Promise<void>;

/** What is known of where the cases run. */
declare global {
  /** Whether the runtime sends headers, and cuts a connection on demand. */
  var isBrowser: boolean | undefined;
}

function equal(actual: unknown, expected: unknown): void {
  const [is, should] = [JSON.stringify(actual), JSON.stringify(expected)];
  if (is !== should) throw new Error(`Expected ${should}, but got ${is}`);
}

async function failure(promise: Promise<unknown>): Promise<Error> {
  try {
    await promise;
  } catch (error) {
    if (error instanceof Error) return error;
    throw new Error(`Rejected with something else: ${error}`);
  }
  throw new Error("Resolved, but should have rejected");
}

/** A client, and what it has told. */
class RecordingClient extends ClientSocket<{ incoming: unknown }> {
  readonly told: string[] = [];

  constructor(options: ClientOptions<{ incoming: unknown }> = {}) {
    super(options);
    this.on(
      "connect",
      (_connection, path) => this.told.push(`connect ${path}`),
    );
    for (const type of ["close", "disconnect"] as const) {
      this.on(type, (code, reason, cause) => {
        this.told.push(`${type} ${code} "${reason}" ${cause}`);
      });
    }
    this.on("reconnecting", (attempt) => {
      this.told.push(`reconnecting ${attempt}`);
    });
    this.on("giveup", () => this.told.push("giveup"));
  }
}

/** The name of an error. */
function nameOf(error: unknown): string {
  return error instanceof DOMException ? error.name : String(error);
}

/** Comes back at once, so that a case does not take long. */
const FAST_RECONNECT = { initialDelay: 10, maxDelay: 20 };

let count = 0;

/** A name that nobody else has used at the server. */
function unique(): string {
  return `${Date.now()}-${count++}`;
}

export const cases: Readonly<Record<string, Case>> = {
  async "sends and receives text, JSON, bytes and blobs"(url) {
    const client = new RecordingClient();
    await client.connect(`${url}/echo`);
    const messages = client.events("message");
    const sent = ["text", { a: [1, null] }, new Uint8Array([0, 255])];
    for (const data of sent) client.send(data);
    client.send(new Blob(["blob"]));
    const received: unknown[] = [];
    for await (const [message] of messages) {
      received.push(message.isBinary ? [...message.bytes] : message.data);
      if (received.length === 4) break;
    }
    equal(received, ["text", { a: [1, null] }, [0, 255], [98, 108, 111, 98]]);
    await client.close(4001, "bye");
    equal(client.told, ["connect /echo", 'close 4001 "bye" local']);
  },

  async "hears what the server sends at once"(url) {
    const client = new RecordingClient();
    await client.connect(`${url}/hello`);
    const [message] = await client.waitFor("message");
    equal(message.data, "hello");
    await client.close();
    equal(client.told, ["connect /hello", 'close 1000 "" local']);
  },

  async "is told the code and reason of the server's close"(url) {
    const client = new RecordingClient();
    await client.connect(`${url}/close`);
    const closed = client.waitFor("close");
    await client.send({ code: 4002, reason: "out" });
    await closed;
    equal(client.told, ["connect /close", 'close 4002 "out" peer']);
    equal(client.disconnection?.wasClean, true);
    const late = await failure(client.send("late"));
    equal(late instanceof ConnectionEndedError, true);
  },

  async "is told of a loss"(url) {
    const client = new RecordingClient();
    await client.connect(`${url}/drop`);
    const lost = client.waitFor("disconnect");
    await client.send("now");
    await lost;
    equal(client.told, ["connect /drop", 'disconnect 1006 "" network']);
  },

  async "terminates"(url) {
    const client = new RecordingClient({ reconnect: FAST_RECONNECT });
    await client.connect(`${url}/echo`);
    client.terminate();
    equal(client.told, ["connect /echo", 'disconnect 1006 "" local']);
    equal(client.connection, undefined);
  },

  async "cannot connect where it is refused, and may then try elsewhere"(url) {
    const client = new RecordingClient();
    const error = await failure(client.connect(`${url}/refuse`));
    equal(error instanceof ConnectError, true);
    equal(client.told, []);
    await client.connect(`${url}/echo`);
    await client.close();
  },

  async "gives up an attempt that is not answered"(url) {
    const client = new RecordingClient({ connectTimeout: 200 });
    const error = await failure(client.connect(`${url}/never`));
    equal(error instanceof ConnectError, true);
    equal(error.message.includes("no response within 200 ms"), true);
  },

  async "gives up an attempt when it is aborted, or closed"(url) {
    const client = new RecordingClient();
    const signal = AbortSignal.timeout(100);
    const error = await failure(client.connect(`${url}/never`, { signal }));
    equal(error.name, "TimeoutError");
    const connecting = failure(client.connect(`${url}/never`));
    await client.close();
    equal(await connecting instanceof ConnectError, true);
    await client.connect(`${url}/echo`);
    await client.close();
  },

  async "refuses what is no URL"(_url) {
    const client = new RecordingClient({ reconnect: true });
    const error = await failure(client.connect("http://[::1"));
    equal(error instanceof ConnectError, false);
    equal(client.told, []);
  },

  async "closes after a message that is larger than maxPayload"(url) {
    const client = new RecordingClient({ maxPayload: 100 });
    await client.connect(`${url}/echo`);
    const messages = client.events("message");
    for (const size of [100, 101, 1]) client.send("x".repeat(size));
    const heard: unknown[] = [];
    try {
      for await (const [{ content }] of messages) heard.push(content.length);
    } catch {
      // It ends with the connection.
    }
    equal(heard, [100]);
    equal(client.told.slice(1), [
      'close 4009 "A message may have at most 100 bytes" limit',
    ]);
  },

  async "agrees on a subprotocol"(url) {
    const client = new RecordingClient({
      protocols: () => ["other.v1", "test.v1"],
    });
    await client.connect(`${url}/echo`);
    equal(client.connection?.protocol, "test.v1");
    await client.close();
  },

  async "sends headers, or says that it cannot"(url) {
    const client = new RecordingClient({
      headers: () => ({ "X-Test": "yes" }),
    });
    const connecting = client.connect(`${url}/headers`);
    if (globalThis.isBrowser) {
      const error = await failure(connecting);
      equal(error instanceof TypeError, true);
      equal(error.message.includes("does not support them"), true);
      return;
    }
    await connecting;
    const [message] = await client.waitFor("message");
    equal(message.data, "yes");
    await client.close();
  },

  async "comes back after a loss, and sends what it was given meanwhile, once"(
    url,
  ) {
    const client = new RecordingClient({ reconnect: FAST_RECONNECT });
    const id = unique();
    client.on("connect", (connection) => connection.send("hello"));
    await client.connect(() => `${url}/diary?id=${id}`);
    await client.send("before");
    client.send("drop");
    await client.waitFor("disconnect");
    const sends = ["one", "two", "three"].map((text) => client.send(text));
    await Promise.all(sends);
    client.send("list");
    const [list] = await client.waitFor("message");
    equal(list.data, ["hello", "before", "hello", "one", "two", "three"]);
    await client.close();
    equal(client.told, [
      "connect /diary",
      'disconnect 1006 "" network',
      "reconnecting 1",
      "connect /diary",
      'close 1000 "" local',
    ]);
  },

  async "comes back to a server that restarts, not to one that says no"(url) {
    const client = new RecordingClient({ reconnect: FAST_RECONNECT });
    await client.connect(`${url}/close`);
    let connected = client.waitFor("connect");
    await client.send({ code: 1001, reason: "retry-after=0" });
    await connected;
    connected = client.waitFor("connect");
    const closed = client.waitFor("close");
    await client.send({ code: 1008, reason: "no" });
    await closed;
    equal(await failure(connected) instanceof ConnectionEndedError, true);
    equal(client.told, [
      "connect /close",
      'close 1001 "retry-after=0" peer',
      "reconnecting 1",
      "connect /close",
      'close 1008 "no" peer',
    ]);
  },

  async "goes on until it is let in, with a fresh URL each time"(url) {
    const client = new RecordingClient({ reconnect: FAST_RECONNECT });
    const id = unique();
    let attempt = 0;
    await client.connect(() => `${url}/third?id=${id}&attempt=${++attempt}`);
    equal(client.told, ["reconnecting 1", "reconnecting 2", "connect /third"]);
    equal(
      new URL(client.connection?.url ?? "").searchParams.get("attempt"),
      "3",
    );
    await client.close();
  },

  async "gives up after so many attempts, and rejects what waits"(url) {
    const reconnect = { ...FAST_RECONNECT, maxAttempts: 2 };
    const client = new RecordingClient({ reconnect });
    const connecting = failure(client.connect(`${url}/refuse`));
    const sending = failure(client.send("never"));
    equal(await connecting instanceof ConnectError, true);
    equal(await sending instanceof ConnectionEndedError, true);
    equal(client.told, ["reconnecting 1", "reconnecting 2", "giveup"]);
  },

  async "takes a server that is silent for lost"(url) {
    const client = new RecordingClient({ idleTimeout: 100, plain: true });
    await client.connect(`${url}/echo`);
    await client.waitFor("disconnect");
    equal(client.told, ["connect /echo", 'disconnect 1006 "" timeout']);
  },

  async "takes no server for lost that answers its pings"(url) {
    const client = new RecordingClient({ idleTimeout: 1_500 });
    await client.connect(`${url}/echo`);
    const late = client.waitFor("disconnect", { timeout: 3_500 });
    equal(nameOf(await failure(late)), "TimeoutError");
    await client.close();
    equal(client.told, ["connect /echo", 'close 1000 "" local']);
  },

  async "asks the server, and is asked"(url) {
    const client = new RecordingClient();
    client.handle(({ content }) => content.toUpperCase());
    await client.connect(`${url}/ask`);
    const answers = [1, 2, 3].map((n) => client.request({ type: "double", n }));
    equal(await Promise.all(answers), [2, 4, 6]);
    equal(await client.request({ type: "ask back" }), "ASKED BACK");
    const refused = await failure(client.request({ type: "refuse" }));
    equal(refused instanceof RequestError && refused.code, "refused");
    const late = client.request({ type: "never" }, { timeout: 20 });
    equal(nameOf(await failure(late)), "TimeoutError");
    const pending = failure(client.request({ type: "never" }));
    await client.close();
    equal(await pending instanceof ConnectionEndedError, true);
  },

  async "sends and receives many messages in one frame, in order"(url) {
    const client = new RecordingClient();
    await client.connect(`${url}/echo`);
    const messages = client.messages({ limit: 2_000 });
    const sent = Array.from(
      { length: 2_000 },
      (_, n) => n % 7 === 0 ? new Uint8Array([n % 256, 0xc1]) : `\u0001${n}`,
    );
    for (const data of sent) client.send(data);
    const received: unknown[] = [];
    for await (const message of messages) {
      received.push(message.isBinary ? message.bytes[0] : message.content);
      if (received.length === sent.length) break;
    }
    equal(
      received,
      sent.map((data) => typeof data === "string" ? data : data[0]),
    );
    await client.close();
  },

  async "speaks plainly where it is told to"(url) {
    const client = new RecordingClient({ plain: true });
    await client.connect(`${url}/echo`);
    equal(client.connection?.speaksEvents, false);
    const refused = await failure(client.request("x"));
    equal(nameOf(refused), "NotSupportedError");
    await client.close();
  },

  async "does not outrun the server"(url) {
    const client = new RecordingClient({ highWaterMark: 64 * 1024 });
    const id = unique();
    await client.connect(`${url}/diary?id=${id}`);
    for (let i = 0; i < 50; i++) {
      await client.send(`${i} ${"x".repeat(16_384)}`);
    }
    equal(client.bufferedAmount <= 64 * 1024, true);
    client.send("count");
    const [counted] = await client.waitFor("message");
    equal(counted.data, 50);
    await client.close();
  },
};

/** What came of a case; no error if it is so. */
export interface Outcome {
  readonly name: string;
  readonly error?: string;
}

/** How long a case may take, in milliseconds: far more than it does. */
const CASE_TIMEOUT_MS = 20_000;

/** Tries all cases, one after the other. */
export async function runCases(url: string): Promise<Outcome[]> {
  const outcomes: Outcome[] = [];
  for (const [name, run] of Object.entries(cases)) {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<never>((_resolve, reject) => {
      timer = setTimeout(
        () => reject(new Error("Took too long")),
        CASE_TIMEOUT_MS,
      );
    });
    try {
      await Promise.race([run(url), late]);
      outcomes.push({ name });
    } catch (error) {
      const text = error instanceof Error ? error.stack ?? "" : "";
      outcomes.push({ name, error: `${error}\n${text}` });
    } finally {
      clearTimeout(timer);
    }
  }
  return outcomes;
}
