import type { ConnectionEnd } from "../../core/events/errors.ts";
import type {
  Instrumentation,
  InstrumentedConnection,
} from "../../core/events/instrumentation.ts";

/** A probe that writes down what it sees. */
export class InstrumentationRecorder implements Instrumentation {
  readonly seen: string[] = [];

  constructor(readonly trace?: string) {}

  detach<T>(begin: () => T): T {
    this.seen.push("detach");
    return begin();
  }

  connectionCreated(): void {
    this.seen.push("created");
  }

  connectionOpened({ path }: InstrumentedConnection): void {
    this.seen.push(`opened ${path}`);
  }

  connectionEnded(
    { traffic }: InstrumentedConnection,
    { type, code, cause }: ConnectionEnd,
  ): void {
    const { messages } = traffic.received;
    this.seen.push(`ended ${type} ${code} ${cause} after ${messages}`);
  }

  batched(direction: string, count: number): void {
    this.seen.push(`${direction} ${count}`);
  }

  traceRequest<T>(
    _connection: InstrumentedConnection,
    data: unknown,
    ask: (trace?: string) => Promise<T>,
  ): Promise<T> {
    this.seen.push(`ask ${data}`);
    return ask(this.trace);
  }

  traceHandler(
    _connection: InstrumentedConnection,
    kind: string | undefined,
    trace: string | undefined,
    handle: () => unknown,
  ): unknown {
    this.seen.push(`handle ${kind} in ${trace}`);
    return handle();
  }

  listenerFailed(error: unknown, from: string): void {
    this.seen.push(`failed ${error} in ${from}`);
  }
}
