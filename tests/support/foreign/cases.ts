/**
 * What the client does with a server of others, at its defaults. It runs in every
 * runtime that has a `WebSocket`, so it uses nothing else.
 */

import { ClientSocket } from "../../../client.ts";

/** What is tried, in this order. */
export const CASES = [
  "connect",
  "text",
  "binary",
  "empty",
  "1 MiB",
  "client closes",
  "server closes",
  "killed",
] as const;

export type CaseName = typeof CASES[number];

/** What came of each case: empty if it is as it should be. */
export type Outcomes = Readonly<Record<CaseName, string>>;

/** How long a case may take, in milliseconds: far more than it does. */
const CASE_TIMEOUT_MS = 20_000;

function equal(actual: unknown, expected: unknown): void {
  const [is, should] = [JSON.stringify(actual), JSON.stringify(expected)];
  if (is !== should) {
    throw new Error(`expected ${short(should)}, but got ${short(is)}`);
  }
}

function short(text: string | undefined): string {
  return text && text.length > 100 ? `${text.slice(0, 100)}...` : `${text}`;
}

/** Sends, and expects the same back; by a new connection if the last one failed. */
async function echo(
  client: ClientSocket,
  url: string,
  ...all: (string | Uint8Array<ArrayBuffer>)[]
): Promise<void> {
  if (!client.connection) await client.connect(url);
  for (const data of all) {
    const answer = client.waitFor("message");
    await client.send(data);
    const [{ isBinary, content, bytes }] = await answer;
    equal(isBinary, typeof data !== "string");
    const isSame = typeof data === "string"
      ? content === data
      : bytes.length === data.length &&
        bytes.every((byte, at) => byte === data[at]);
    if (!isSame) throw new Error("the echo is not what was sent");
  }
}

/** Waits for the one end of a connection, as in `close 4001 "bye" local`. */
async function end(client: ClientSocket): Promise<string> {
  const { promise, resolve } = Promise.withResolvers<string>();
  for (const type of ["close", "disconnect"] as const) {
    client.once(type, (code, reason, cause) => {
      resolve(`${type} ${code} "${reason}" ${cause}`);
    });
  }
  return await promise;
}

/** Tries all cases with the server at a URL, which is gone afterwards. */
export async function tryServer(url: string): Promise<Outcomes> {
  const client = new ClientSocket();
  const mib = 1024 * 1024;
  const steps: Record<CaseName, () => Promise<void>> = {
    async "connect"() {
      await client.connect(url);
    },
    "text": () =>
      echo(client, url, "text", '{"a":[1,null]}', "\u{1f600} \u00e9"),
    "binary": () => echo(client, url, new Uint8Array([0, 1, 254, 255])),
    "empty": () => echo(client, url, "", new Uint8Array()),
    "1 MiB": () =>
      echo(client, url, "x".repeat(mib), new Uint8Array(mib).fill(255)),
    async "client closes"() {
      if (!client.connection) await client.connect(url);
      const ended = end(client);
      await client.close(4001, "bye");
      equal(await ended, 'close 4001 "bye" local');
    },
    async "server closes"() {
      if (!client.connection) await client.connect(url);
      const ended = end(client);
      await client.send("close me");
      equal(await ended, 'close 4002 "enough" peer');
    },
    async "killed"() {
      await client.connect(url);
      const ended = end(client);
      client.send("kill");
      equal(await ended, 'disconnect 1006 "" network');
    },
  };
  const outcomes: Record<CaseName, string> = {
    "connect": "",
    "text": "",
    "binary": "",
    "empty": "",
    "1 MiB": "",
    "client closes": "",
    "server closes": "",
    "killed": "",
  };
  for (const name of CASES) {
    if (outcomes.connect) {
      outcomes[name] = "not connected";
      continue;
    }
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<never>((_resolve, reject) => {
      const tell = () => reject(new Error("no end of it"));
      timer = setTimeout(tell, CASE_TIMEOUT_MS);
    });
    try {
      await Promise.race([steps[name](), late]);
    } catch (error) {
      outcomes[name] = error instanceof Error ? error.message : `${error}`;
      client.terminate();
    } finally {
      clearTimeout(timer);
    }
  }
  client.terminate();
  return outcomes;
}

/** Tries all servers at once: one that does not answer holds up no other. */
export function tryServers(urls: readonly string[]): Promise<Outcomes[]> {
  return Promise.all(urls.map(tryServer));
}
