/**
 * Stops reading from a server's socket until a later turn of the event loop.
 *
 * Deno reads all frames that have arrived in one turn of the event loop, 5 to 10
 * microseconds each, and offers no way to stop. Its loop ends if the socket counts as closed
 * after a frame, and can be started again later: nothing is lost, and meanwhile TCP slows
 * the peer down. In a runtime without these private names, everything is read at once.
 *
 * @module
 */

import { ignoreRejection } from "../events/errors.ts";
import { privateField } from "./deno_internals.ts";
import type { PausedReader, RawSocket } from "./websocket.ts";

/** How many sockets are resumed in one turn, as each may read for a slice. */
const RESUMED_PER_TURN = 2;

/** The value of `readyState` of a closed socket. */
const CLOSED = 3;

interface Pause {
  readonly reader: PausedReader;
  /** Starts Deno's loop, which reads from the socket. */
  readonly start: () => unknown;
}

/** The paused sockets, in the order in which they are resumed. */
const paused = new Map<RawSocket, Pause>();

/**
 * Stops reading from a socket. To be called at the end of a listener of its event
 * `message`, after which nothing must use the socket before Deno does.
 *
 * @param reader What reads from the socket.
 * @returns Whether the runtime allows it.
 */
export function pauseReading(socket: RawSocket, reader: PausedReader): boolean {
  const state = privateField(socket, "[[readyState]]");
  const start = readLoop(socket);
  if (state === undefined || start === undefined) return false;
  seemClosedOnce(socket, state);
  paused.set(socket, { reader, start });
  if (paused.size === 1) setTimeout(resumeNext, 0);
  return true;
}

/** Makes the next look at the private state of a socket see that it is closed. */
function seemClosedOnce(socket: RawSocket, state: symbol): void {
  const current: unknown = Reflect.get(socket, state);
  const restore = (value: unknown) => {
    Object.defineProperty(socket, state, {
      value,
      writable: true,
      enumerable: true,
      configurable: true,
    });
  };
  Object.defineProperty(socket, state, {
    get: () => {
      restore(current);
      return CLOSED;
    },
    set: restore,
    enumerable: true,
    configurable: true,
  });
}

function resumeNext(): void {
  let left = RESUMED_PER_TURN;
  for (const [socket, { reader, start }] of paused) {
    paused.delete(socket);
    reader.resumed();
    // If it fails, no pong is received, and the peer counts as lost.
    ignoreRejection(Promise.resolve(start()));
    if (--left === 0) break;
  }
  if (paused.size > 0) setTimeout(resumeNext, 0);
}

/** Returns what starts Deno's loop that reads from a socket. */
function readLoop(socket: RawSocket): (() => unknown) | undefined {
  const prototype: object = Reflect.getPrototypeOf(socket) ?? {};
  if (cachedLoop?.prototype !== prototype) {
    const method = Object.getOwnPropertySymbols(prototype)
      .find(({ description }) => description === "[[eventLoop]]");
    const loop: unknown = method && Reflect.get(prototype, method);
    cachedLoop = { prototype, loop };
  }
  const { loop } = cachedLoop;
  return typeof loop === "function"
    ? () => Reflect.apply(loop, socket, [])
    : undefined;
}

/** Deno's loop of the last prototype. */
let cachedLoop:
  | { readonly prototype: object; readonly loop: unknown }
  | undefined;
