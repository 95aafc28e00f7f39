/**
 * The clients that pass the same tests: that of `@ws/events/client`, and that of
 * `@ws/events/client/page`. Import `ClientSocket` from here, and use {@linkcode testClients}
 * instead of `Deno.test`: each test then runs with both.
 */

import * as whole from "../../client.ts";
import * as page from "../../page.ts";
import type { CheckedTypes, SocketTypes } from "../../client.ts";
import { FakeWebSockets } from "./fake_websocket.ts";

// The classes are not assignable to each other in TypeScript: what a test uses, both have.
const pageModule: object = page;
const PageBase: typeof whole.ClientSocket = Reflect.get(
  pageModule,
  "ClientSocket",
);

/**
 * Nothing tells a page why a handshake has failed, so that it would repeat each one without
 * `events.v1`. Where the sockets are not real, and a test does not say otherwise, nothing
 * is offered in the first place.
 */
class PageClient<Types extends CheckedTypes<Types> = SocketTypes>
  extends PageBase<Types> {
  constructor(options: whole.ClientOptions<Types> = {}) {
    super(
      FakeWebSockets.installed
        ? { plain: !options.requireEvents, ...options }
        : options,
    );
  }
}

const CLASSES = { client: whole.ClientSocket, page: PageClient };

/** The class of the test that runs. */
export let ClientSocket: typeof whole.ClientSocket = whole.ClientSocket;

/** See the value. */
export type ClientSocket<Types extends CheckedTypes<Types> = SocketTypes> =
  whole.ClientSocket<Types>;

/** Whether the test runs with the client for pages. */
export function isPageClient(): boolean {
  return ClientSocket === PageClient;
}

type TestFunction = (t: Deno.TestContext) => void | Promise<void>;

/** Defines a test for each class. */
export function testClients(
  name: string,
  options: Partial<Deno.TestDefinition> | TestFunction,
  fn?: TestFunction,
): void {
  const run = typeof options === "function" ? options : fn ?? options.fn;
  if (!run) throw new TypeError(`Cannot define "${name}" without a function`);
  for (const [label, Class] of Object.entries(CLASSES)) {
    Deno.test({
      ...typeof options === "object" && options,
      name: `${name} (${label})`,
      fn: async (t) => {
        ClientSocket = Class;
        try {
          await run(t);
        } finally {
          ClientSocket = whole.ClientSocket;
        }
      },
    });
  }
}
