/** A page: its document, its window and its network, for as long as it is in use. */

export class FakePage implements Disposable {
  readonly document = Object.assign(new EventTarget(), {
    visibilityState: "visible",
  });
  /** How many listeners there are, of the document and of the window. */
  listeners = 0;
  readonly #add = globalThis.addEventListener;
  readonly #remove = globalThis.removeEventListener;

  constructor() {
    Reflect.set(globalThis, "document", this.document);
    this.#setOnLine(true);
    for (const target of [this.document, globalThis]) {
      const { addEventListener: add, removeEventListener: remove } = target;
      Reflect.set(target, "addEventListener", (...args: unknown[]) => {
        this.listeners++;
        Reflect.apply(add, target, args);
      });
      Reflect.set(target, "removeEventListener", (...args: unknown[]) => {
        this.listeners--;
        Reflect.apply(remove, target, args);
      });
    }
  }

  #setOnLine(value: boolean): void {
    Object.defineProperty(navigator, "onLine", { value, configurable: true });
  }

  /** The tab is hidden, or shown again. */
  show(isVisible: boolean): void {
    this.document.visibilityState = isVisible ? "visible" : "hidden";
    this.document.dispatchEvent(new Event("visibilitychange"));
  }

  /** The browser says that there is a network, or that there is none. */
  network(isThere: boolean): void {
    this.#setOnLine(isThere);
    dispatchEvent(new Event(isThere ? "online" : "offline"));
  }

  [Symbol.dispose](): void {
    Reflect.deleteProperty(globalThis, "document");
    Reflect.deleteProperty(navigator, "onLine");
    Reflect.set(globalThis, "addEventListener", this.#add);
    Reflect.set(globalThis, "removeEventListener", this.#remove);
  }
}
