/**
 * The two example programs, as processes of their own: the story that they
 * print, and how each tells the end of the other.
 */

import {
  assertEquals,
  assertMatch,
  assertRejects,
  assertStrictEquals,
} from "@std/assert";
import { ClientSocket, ConnectError } from "../../mod.ts";
import { lacksPermission } from "../support/permissions.ts";
import { lacksProgram } from "../support/programs.ts";
import { Program } from "../support/program.ts";

const ignore = await lacksPermission("net", "run", "read");

function test(name: string, fn: () => Promise<void>): void {
  Deno.test({ name, ignore, fn });
}

/** Both programs, once they have talked to each other. */
async function talking() {
  const server = Program.run("examples/server.ts", "localhost", "0");
  const url = await server.line("Server is ready listening at");
  const client = Program.run("examples/client.ts", url);
  assertStrictEquals(
    await client.line("Connected to"),
    url.replace("ws://", ""),
  );
  assertMatch(
    await server.line("Client at"),
    /^127\.0\.0\.1:\d+ connected to \/\.$/,
  );
  assertStrictEquals(
    await client.line("Status:"),
    "Okay, alive: true, ping: 10.4",
  );
  assertMatch(
    await server.line("Message from"),
    /^127\.0\.0\.1:\d+ at \d{4}-.*Z: "Okay received\."$/,
  );
  return {
    server,
    client,
    async [Symbol.asyncDispose]() {
      await server[Symbol.asyncDispose]();
      await client[Symbol.asyncDispose]();
    },
  };
}

test("examples: Ctrl-C of the client is a close with 4001 on both sides", async () => {
  await using both = await talking();
  both.client.kill("SIGINT");
  assertStrictEquals(await both.client.line("Closed:"), `4001 "bye"`);
  assertMatch(await both.server.line("Client at"), /closed: 4001 "bye"$/);
  assertStrictEquals(await both.client.exit(), 0);
});

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  test(`examples: ${signal} of the server is a close with 1001 on both sides`, () => {
    return shutDown(signal);
  });
}

async function shutDown(signal: Deno.Signal): Promise<void> {
  await using both = await talking();
  both.server.kill(signal);
  assertStrictEquals(
    await both.client.line("Closed:"),
    `1001 "The server shuts down."`,
  );
  assertMatch(
    await both.server.line("Client at"),
    /closed: 1001 "The server shuts down\."$/,
  );
  await both.server.line("Server is closed.");
  assertEquals([await both.client.exit(), await both.server.exit()], [0, 0]);
}

test("examples: kill -9 of the client is a disconnect of the server's", async () => {
  await using both = await talking();
  both.client.kill("SIGKILL");
  assertMatch(await both.server.line("Client at"), /was lost: 1006$/);
  assertStrictEquals(await both.server.line("Lost so far:"), "1");
});

test("examples: kill -9 of the server is a disconnect of the client's", async () => {
  await using both = await talking();
  both.server.kill("SIGKILL");
  assertStrictEquals(await both.client.line("Lost the server:"), "1006");
  assertMatch(await both.client.line("At:"), /^\d{4}-.*Z$/);
  assertStrictEquals(await both.client.exit(), 1);
});

test("examples: the client says so if there is no server", async () => {
  await using client = new Program(
    ["run", "--allow-net", "examples/client.ts", "ws://127.0.0.1:1"],
    { output: "stderr" },
  );
  assertMatch(
    await client.line("Cannot connect to"),
    /^ws:\/\/127\.0\.0\.1:1\/: .* Is examples\/server\.ts running\?$/,
  );
  assertStrictEquals(await client.exit(), 1);
});

test("examples: requests are asked, answered and refused, both ways", async () => {
  await using program = Program.run("examples/requests.ts");
  assertStrictEquals(await program.line("An apple costs"), "3");
  assertStrictEquals(await program.line("Pay 12 for it?"), "Yes.");
  assertStrictEquals(await program.line("Bought"), "3 of pear for 12");
  assertStrictEquals(
    await program.line("Refused (unknown-fruit):"),
    "There is no plum",
  );
  assertMatch(await program.line("The server says:"), /count: Too small/);
  assertMatch(await program.line("Refused (invalid):"), /count: Too small/);
  assertStrictEquals(await program.exit(), 0);
});

test("examples: an order whose answer is lost is handled once", async () => {
  await using program = Program.run("examples/orders.ts");
  assertEquals(await program.linesUntil("Handlers called: 2"), [
    "Connected",
    "Handled: apple",
    "Lost the connection",
    "Connected",
    "Confirmed: order 1, apple",
    "Handled: pear",
    "Confirmed: order 2, pear",
  ]);
  assertStrictEquals(await program.exit(), 0);
});

test("examples: a contract types and checks both ends", async () => {
  await using program = Program.run("examples/contract.ts");
  assertStrictEquals(await program.line("1 looks at the"), "pear");
  assertStrictEquals(await program.line("An apple costs"), "3.00");
  assertStrictEquals(await program.line("A pear costs"), "4");
  assertMatch(await program.line("The server says:"), /count: Too small/);
  assertMatch(await program.line("Refused (invalid):"), /count: Too small/);
  assertStrictEquals(await program.exit(), 0);
});

test("examples: a client in channels misses nothing, and is refused", async () => {
  await using program = Program.run("examples/channels.ts");
  assertStrictEquals(await program.line("Order 42 is now"), "sent");
  assertStrictEquals(await program.line("Order 42 is now"), "delivered");
  assertStrictEquals(await program.line("Order 42 has missed"), "nothing");
  assertStrictEquals(await program.line("Order 41 is now"), "cancelled");
  assertStrictEquals(
    await program.line("Order 43 is closed (unknown-order):"),
    "There is no order 43",
  );
  assertStrictEquals(await program.exit(), 0);
});

Deno.test({
  name:
    "examples: a message crosses from server to server, also when Redis was away",
  ignore: ignore || await lacksPermission("env", "sys") ||
    await lacksProgram("redis-server"),
  fn: async () => {
    await using program = new Program([
      "run",
      ...["--allow-net", "--allow-env", "--allow-sys"],
      "--allow-run=redis-server",
      "examples/cluster/main.ts",
    ]);
    await program.line(`Grace hears: "Hello from the north (by north)"`);
    await program.line(`Grace hears: "And hello again (by north)"`);
    assertStrictEquals(await program.exit(), 0);
  },
});

test("examples: two windows at two servers are one member", async () => {
  await using program = Program.run("examples/presence/main.ts");
  for (
    const line of [
      "join: Ada is online",
      "members: Ada is online",
      "join: Grace is online",
      "update: Grace is away",
      "update: Grace is online",
      "leave: Grace is online",
    ]
  ) await program.line(line);
  assertStrictEquals(await program.exit(), 0);
});

test("examples: MessagePack carries bytes and dates", async () => {
  await using program = Program.run("examples/msgpack.ts");
  assertStrictEquals(
    await program.line("The server got"),
    "{ pixels: Uint8Array(3) [ 1, 2, 3 ], at: 1970-01-01T00:00:00.000Z }",
  );
  assertMatch(await program.line("The client got"), /1970-01-01T00:00:00.000Z/);
  await program.line("JSON is refused");
  assertStrictEquals(await program.exit(), 0);
});

test("examples: the guarded server lets in who has a token, and goes in good order", async () => {
  await using server = new Program([
    "run",
    "--allow-net",
    "--allow-env=TOKENS",
    "examples/guarded.ts",
    "127.0.0.1",
    "0",
  ]);
  const url = await server.line("Listening at ");
  const client = new ClientSocket();
  for (const wrong of [url, `${url}?token=x`, url.replace("live", "")]) {
    await assertRejects(() => client.connect(wrong), ConnectError);
  }
  assertMatch(await server.line("Refused"), /401 The authorization/);
  assertMatch(await server.line("Refused"), /401/);
  assertMatch(
    await server.line("Refused"),
    /404 There is no WebSocket endpoint at \/$/,
  );
  await client.connect(`${url}?token=secret`);
  await server.line("ada connected");
  const echo = client.waitFor("message");
  const closed = client.waitFor("close");
  await client.send("hello");
  assertEquals((await echo)[0].data, { from: "ada", says: "hello" });
  server.kill("SIGTERM");
  assertEquals(await closed, [1001, "retry-after=2", "peer"]);
  assertStrictEquals(client.disconnection?.retryAfter, 2_000);
  assertStrictEquals(
    await server.line("ada closed:"),
    `1001 "retry-after=2"`,
  );
  await server.line("Server is closed.");
  assertStrictEquals(await server.exit(), 0);
});

// An empty variable, as of a deploy that does not set it, is no password.
for (const command of ["exec", "PASSWORD= exec"]) {
  Deno.test({
    name: `examples: who knows the password sees inside the server: ${command}`,
    ignore: ignore || await lacksProgram("sh"),
    fn: () => lookInside(command),
  });
}

async function lookInside(command: string): Promise<void> {
  await using server = new Program([
    "-c",
    `${command} "$0" run --allow-net --allow-env=PASSWORD examples/inspect.ts 127.0.0.1 0`,
    Deno.execPath(),
  ], { command: "sh" });
  const url = await server.line("Sockets at");
  const page = await server.line("See them at");
  const password = await server.line("The password is");
  const client = new ClientSocket();
  await client.connect(url);
  const pairs = ["ada:no", "ada:", ":", ""].map((one) => `Basic ${btoa(one)}`);
  const wrong = [undefined, "Basic", "Basic ?", ...pairs];
  for (const authorization of wrong) {
    const response = await fetch(`${page}?state`, {
      headers: authorization === undefined ? {} : { authorization },
    });
    assertStrictEquals(response.status, 401);
    assertMatch(await response.text(), /^Log in first/);
  }
  const headers = { authorization: `Basic ${btoa(`ada:${password}`)}` };
  const response = await fetch(`${page}?state`, { headers });
  const { connections } = await response.json();
  assertStrictEquals(connections.rows[0].path, "/live/lobby");
  const elsewhere = await fetch(`${page}/more`, { headers });
  assertStrictEquals(elsewhere.status, 404);
  await elsewhere.text();
  await client.close();
}

for (const tokens of ["", "secret:ada,", ":ada", "secret", ","]) {
  test(`examples: guarded.ts does not start with TOKENS="${tokens}"`, async () => {
    const { code, stderr } = await new Deno.Command(Deno.execPath(), {
      args: [
        ...["run", "--allow-net", "--allow-env=TOKENS"],
        ...["examples/guarded.ts", "127.0.0.1", "0"],
      ],
      env: { TOKENS: tokens, NO_COLOR: "1" },
    }).output();
    assertStrictEquals(code, 2);
    assertMatch(new TextDecoder().decode(stderr), /^TOKENS has to be a list/m);
  });
}
