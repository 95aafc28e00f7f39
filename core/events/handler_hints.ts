/**
 * Errors for the event handler properties of a `WebSocket`, which would do nothing here.
 *
 * @module
 */

/** What to write instead of an event handler property. */
const LISTENERS: Readonly<Record<string, string>> = {
  onopen: 'on("connect", () => {})',
  onmessage: 'on("message", ({ data }) => {})',
  onclose:
    'on("close", ...) and on("disconnect", ...), or on("end", ...) for both',
  onerror: 'on("error", (error) => {})',
};

/**
 * Makes it an error to assign `onmessage` and the other event handler properties of a
 * `WebSocket`. A subclass may still have a member of that name.
 *
 * @param prototype The prototype of the class.
 */
export function refuseEventHandlers(prototype: object): void {
  for (const [name, listener] of Object.entries(LISTENERS)) {
    Object.defineProperty(prototype, name, {
      configurable: true,
      set() {
        throw new TypeError(
          `Cannot set "${name}" as there is no such property: use ${listener}`,
        );
      },
    });
  }
}
