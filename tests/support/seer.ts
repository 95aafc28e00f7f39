import type { End } from "../../core/events/errors.ts";
import type { Probe, Subject } from "../../core/events/instrumentation.ts";

/** A probe that writes down what it sees. */
export class Seer implements Probe {
  readonly seen: string[] = [];

  constructor(readonly trace?: string) {}

  detach<T>(begin: () => T): T {
    this.seen.push("detach");
    return begin();
  }

  created(): void {
    this.seen.push("created");
  }

  opened({ path }: Subject): void {
    this.seen.push(`opened ${path}`);
  }

  ended({ traffic }: Subject, { type, code, cause }: End): void {
    const { messages } = traffic.received;
    this.seen.push(`ended ${type} ${code} ${cause} after ${messages}`);
  }

  batched(direction: string, count: number): void {
    this.seen.push(`${direction} ${count}`);
  }

  ask<T>(
    _connection: Subject,
    data: unknown,
    ask: (trace?: string) => Promise<T>,
  ): Promise<T> {
    this.seen.push(`ask ${data}`);
    return ask(this.trace);
  }

  handle(
    _connection: Subject,
    kind: string | undefined,
    trace: string | undefined,
    handle: () => unknown,
  ): unknown {
    this.seen.push(`handle ${kind} in ${trace}`);
    return handle();
  }

  failed(error: unknown, from: string): void {
    this.seen.push(`failed ${error} in ${from}`);
  }
}
