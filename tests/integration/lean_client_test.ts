import { assertEquals, assertStringIncludes } from "@std/assert";
import { RequestError, ServerSocket } from "../../mod.ts";
import { lacksPermission } from "../support/permissions.ts";

Deno.test(
  "ClientSocket without additions works, and names the import that is missing",
  {
    ignore: await lacksPermission("net", "run", "read"),
  },
  async () => {
    await using server = new ServerSocket();
    let failure: unknown;
    server.handle("sum", ({ author }) => {
      author.request({ type: "version" }).catch((error: unknown) => {
        failure = error;
        author.send({ type: "chat" });
      });
      return 3;
    });
    server.on("message", ({ author }) => author.close(4001, "bye"));
    await server.listen("127.0.0.1", 0);
    const { stdout } = await new Deno.Command(Deno.execPath(), {
      args: [
        "run",
        "--no-check",
        "--allow-net",
        new URL("../support/lean_client.ts", import.meta.url).pathname,
        `${server.url}`,
      ],
      stdin: "null",
      stderr: "inherit",
    }).output();
    const { refused, errors, ...rest } = JSON.parse(
      new TextDecoder().decode(stdout),
    );
    assertEquals(rest, {
      sum: 3,
      data: { type: "chat" },
      type: "close",
      code: 4001,
      reason: "bye",
    });
    const imports = [
      "iterators",
      "iterators",
      "iterators",
      "handlers",
      "codec",
      "concurrency",
      "schema",
    ];
    for (const [index, name] of imports.entries()) {
      assertStringIncludes(
        refused[index],
        `import "@ws/events/client/${name}" first`,
      );
    }
    // Without the hints, the error only says what is wrong.
    assertEquals(
      refused.at(-1),
      'Cannot use "shema" as an option of ClientSocket as there is no such option',
    );
    assertEquals(errors.length, 1);
    assertStringIncludes(
      errors[0],
      'import "@ws/events/client/handlers" first',
    );
    assertEquals(failure instanceof RequestError && failure.code, "unhandled");
  },
);
