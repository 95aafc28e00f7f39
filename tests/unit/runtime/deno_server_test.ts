import { assertEquals, assertStringIncludes } from "@std/assert";
import { stub } from "@std/testing/mock";
import { FakeTime } from "@std/testing/time";
import { BoundServer } from "../../../core/runtime/deno_server.ts";

Deno.test("BoundServer listens again at the same port, however the runtime stops", async () => {
  using time = new FakeTime();
  const ports: unknown[] = [];
  let finished = Promise.withResolvers<void>();
  // What `Deno.serve` returns, as far as it is used.
  const serve = (options: { port?: number }) => {
    ports.push(options.port);
    finished = Promise.withResolvers();
    return {
      addr: { transport: "tcp", hostname: "127.0.0.1", port: 4321 },
      finished: finished.promise,
      shutdown: () => Promise.resolve(),
    };
  };
  using _serve = stub(Deno, "serve", serve as never);
  const errors: string[] = [];
  const server = new BoundServer(
    { hostname: "127.0.0.1", port: 0 },
    () => new Response(),
    (error) => errors.push(String(error)),
  );
  finished.reject(new Error("no descriptors"));
  await time.tickAsync(100);
  assertEquals(errors, ["Error: no descriptors"]);
  // As it does when a handler does not return the response of an upgrade.
  finished.resolve();
  await time.tickAsync(200);
  assertStringIncludes(errors[1] ?? "", "Deno has stopped the server");
  assertEquals(ports, [0, 4321, 4321]);
  const closed = server.shutdown();
  finished.resolve();
  await closed;
  await time.tickAsync(10_000);
  assertEquals([errors.length, ports.length], [2, 3]);
});
