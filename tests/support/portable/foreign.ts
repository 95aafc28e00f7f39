/** Connects to each URL with default options, and tells what comes of it. */

import { ClientSocket, ConnectError } from "../../../client.ts";

/** What came of one URL. */
export interface ForeignOutcome {
  readonly path: string;
  /** What was received: a greeting and an echo. */
  readonly heard?: readonly unknown[];
  readonly protocol?: string;
  /** How the connection ended after `close(4001, "bye")`. */
  readonly end?: readonly unknown[];
  readonly kind?: string | undefined;
  readonly status?: number | undefined;
}

/** Tries one URL. */
export async function tryForeign(url: string): Promise<ForeignOutcome> {
  const path = new URL(url).pathname.slice(1);
  const client = new ClientSocket();
  try {
    const greeting = client.waitFor("message");
    await client.connect(url);
    const [{ data }] = await greeting;
    const echo = client.waitFor("message");
    client.send({ n: 1 });
    const [{ data: echoed }] = await echo;
    const { protocol } = client.connection ?? {};
    const ended = client.waitFor("close");
    await client.close(4001, "bye");
    return {
      path,
      heard: [data, echoed],
      protocol: protocol ?? "",
      end: await ended,
    };
  } catch (error) {
    if (!(error instanceof ConnectError)) throw error;
    const { kind, status } = error;
    return { path, kind, status };
  }
}
