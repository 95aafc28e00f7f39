/**
 * What a page or a worker tells of its user and its network. Other runtimes have none of
 * these events.
 *
 * @module
 */

import { readProperty } from "../util/read_property.ts";
/**
 * An event in the life of a page:
 *
 * - `shown`: the user looks at it again, or it was thawed.
 * - `left`: the user has left it; it may come back from the back/forward cache.
 * - `online`: there is a network again.
 * - `offline`: there may be no network.
 */
export type PageSignal = "shown" | "left" | "online" | "offline";

/** The events of the window, or of a worker. */
const GLOBAL_EVENTS: readonly (readonly [string, PageSignal])[] = [
  ["online", "online"],
  ["offline", "offline"],
  ["focus", "shown"],
  ["pageshow", "shown"],
  ["pagehide", "left"],
];

/** The events of the document. */
const DOCUMENT_EVENTS: readonly (readonly [string, PageSignal])[] = [
  ["visibilitychange", "shown"],
  ["resume", "shown"],
];

/** The part of an `EventTarget` that is used. */
type PageTarget = Pick<EventTarget, "addEventListener" | "removeEventListener">;

/**
 * Listens to the page.
 *
 * @returns What stops listening.
 */
export function watchPage(listener: (signal: PageSignal) => void): () => void {
  const stops: (() => void)[] = [];
  const listen = (
    target: PageTarget,
    events: readonly (readonly [string, PageSignal])[],
  ) => {
    for (const [type, signal] of events) {
      const onEvent = () => {
        if (signal !== "shown" || !isHidden()) listener(signal);
      };
      target.addEventListener(type, onEvent);
      stops.push(() => target.removeEventListener(type, onEvent));
    }
  };
  const document = readProperty(globalThis, "document");
  if (isTarget(document)) listen(document, DOCUMENT_EVENTS);
  const isPage = isTarget(document) || typeof onLine() === "boolean";
  if (isPage && isTarget(globalThis)) listen(globalThis, GLOBAL_EVENTS);
  return () => stops.forEach((stop) => stop());
}

/** Whether this is a page, which its user may leave at any time. */
export function isPage(): boolean {
  return isTarget(readProperty(globalThis, "document"));
}

/**
 * Whether the browser says that there is no network. It may be wrong, and where it says
 * nothing there need not be one.
 */
export function isOffline(): boolean {
  return onLine() === false;
}

function isHidden(): boolean {
  return readProperty(
    readProperty(globalThis, "document"),
    "visibilityState",
  ) === "hidden";
}

function onLine(): unknown {
  return readProperty(readProperty(globalThis, "navigator"), "onLine");
}

function isTarget(value: unknown): value is PageTarget {
  return typeof readProperty(value, "addEventListener") === "function" &&
    typeof readProperty(value, "removeEventListener") === "function";
}
