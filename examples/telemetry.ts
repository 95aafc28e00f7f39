/**
 * A server, and a client that asks it something each second, which tell OpenTelemetry
 * what they do. Start a collector that takes OTLP by HTTP on port 4318, then:
 *
 *     OTEL_DENO=true OTEL_SERVICE_NAME=sums deno run --allow-net examples/telemetry.ts
 *
 * Without `OTEL_DENO=true` they do the same, and nobody is told.
 */

import { ClientSocket } from "@ws/events/client";
import { type NamedTypes, RequestError, ServerSocket } from "@ws/events/server";
import { instrument } from "@ws/events/telemetry";

interface Sum extends NamedTypes {
  incoming: { type: "sum"; numbers: number[] };
}

const server = new ServerSocket<Sum>();
instrument(server);
server.handle("sum", ({ data }) => {
  if (data.numbers.length > 3) throw new RequestError("Too many", "too-many");
  return data.numbers.reduce((a, b) => a + b, 0);
});
await server.listen("localhost", 0);

const client = new ClientSocket<{ reply: number }>({ reconnect: true });
instrument(client);
await client.connect(server.url);
console.log(`Connected to ${server.url}`);

const numbers: number[] = [];

async function ask(): Promise<void> {
  numbers.push(1);
  try {
    const sum = await client.request({ type: "sum", numbers });
    console.log(`${numbers.join(" + ")} = ${sum}`);
  } catch (error) {
    if (!(error instanceof RequestError)) throw error;
    console.log(`${numbers.join(" + ")}: ${error.message}`);
    numbers.splice(0);
  }
}

await ask();
const timer = setInterval(ask, 1_000);

Deno.addSignalListener("SIGINT", async () => {
  clearInterval(timer);
  await client.close();
  await server.close();
  console.log("Closed.");
  Deno.exit();
});
