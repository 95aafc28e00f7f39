/**
 * Measures round trips to a server that sends messages back.
 *
 * @module
 */

import { ClientSocket } from "../client.ts";
import { clientOptions, type CliOptions } from "./cli_options.ts";
import { Histogram } from "./histogram.ts";
import type { Printer, Terminal } from "./printer.ts";

/** A server that sends nothing back for so long is no echo server, in milliseconds. */
const REPLY_TIMEOUT_MS = 5_000;

/** How many clients connect at the same time. */
const CONNECTING_AT_ONCE = 50;

/**
 * Connects clients, each of which sends a message as soon as the last one has come back.
 *
 * @returns The exit code.
 */
export async function bench(
  options: CliOptions,
  terminal: Terminal,
  printer: Printer,
): Promise<number> {
  const histogram = new Histogram();
  const clients: ClientSocket[] = [];
  try {
    const connectStart = performance.now();
    while (clients.length < options.clients) {
      const count = Math.min(
        CONNECTING_AT_ONCE,
        options.clients - clients.length,
      );
      const batch = Array.from(
        { length: count },
        () => new ClientSocket(clientOptions(options)),
      );
      clients.push(...batch);
      await Promise.all(batch.map((client) => client.connect(options.url)));
    }
    const connectMs = performance.now() - connectStart;
    const message = "x".repeat(options.size);
    const start = performance.now();
    const end = start + options.duration;
    await Promise.all(
      clients.map((client) => ping(client, message, end, histogram)),
    );
    const seconds = (performance.now() - start) / 1000;
    report(histogram, connectMs, seconds, options, terminal, printer);
  } catch (error) {
    printer.error(error);
    return 1;
  } finally {
    await Promise.all(clients.map((client) => client.close()));
  }
  return 0;
}

async function ping(
  client: ClientSocket,
  message: string,
  end: number,
  histogram: Histogram,
): Promise<void> {
  const replies = client.messages();
  for (let now = performance.now(); now < end;) {
    await client.send(message);
    const timer = setTimeout(() => client.terminate(), REPLY_TIMEOUT_MS);
    const { done } = await replies.next();
    clearTimeout(timer);
    if (done) {
      throw new Error(
        "The server sent no message back: a benchmark needs an echo server, such as the option --listen starts",
      );
    }
    const after = performance.now();
    histogram.add(after - now);
    now = after;
  }
  await replies.return?.();
}

function report(
  histogram: Histogram,
  connectMs: number,
  seconds: number,
  { clients, size }: CliOptions,
  terminal: Terminal,
  printer: Printer,
): void {
  const perSecond = Math.round(histogram.count / seconds);
  const [p50, p90, p99, max] = [0.5, 0.9, 0.99, 1].map((share) =>
    histogram.quantile(share)
  );
  printer.event({
    type: "bench",
    clients,
    size,
    connectMs,
    seconds,
    messages: histogram.count,
    perSecond,
    p50,
    p90,
    p99,
    max,
  }, `${clients} clients connected in ${connectMs.toFixed(0)} ms`);
  printer.event(
    { type: "histogram", buckets: histogram.buckets() },
    `${histogram.count} round trips of ${size} bytes in ${
      seconds.toFixed(1)
    } s: ${perSecond} a second`,
  );
  const ms = (value = NaN) => `${value.toFixed(2)} ms`;
  printer.lines([
    `p50 ${ms(p50)}, p90 ${ms(p90)}, p99 ${ms(p99)}, max ${ms(max)}`,
    ...histogram.draw(terminal.isInteractive ? 50 : 30),
  ]);
}
