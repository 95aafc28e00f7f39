/** The command for the terminal, in this process and as a program. */

import {
  assert,
  assertEquals,
  assertMatch,
  assertStrictEquals,
} from "@std/assert";
import { run } from "../../cli/run.ts";
import { channels } from "../../channels.ts";
import { ClientSocket, ServerSocket } from "../../mod.ts";
import { lacksPermission } from "../support/permissions.ts";
import { Program } from "../support/program.ts";

const ignore = await lacksPermission("net");

function test(name: string, fn: () => Promise<void>): void {
  Deno.test({ name, ignore, fn });
}

/** Runs the command with lines of input, which come one after the other. */
async function command(
  args: string[],
  lines: AsyncIterable<string> = (async function* () {})(),
  signal: AbortSignal = new AbortController().signal,
  printed: () => void = () => {},
) {
  const out: string[] = [];
  const notes: string[] = [];
  const code = await run(args, {
    lines,
    isInteractive: false,
    print: (line) => {
      out.push(line);
      printed();
    },
    note: (line) => notes.push(line),
  }, signal);
  return { code, out, notes };
}

/** A server that sends back what it gets, and closes at "bye". */
async function echo(): Promise<ServerSocket> {
  const server = new ServerSocket({ protocols: ["chat"] });
  server.on("message", (message) => {
    const { author, isBinary, bytes, content } = message;
    if (content === "bye") author.close(4000, "so long\u001b");
    else if (content === "binary") author.send(new Uint8Array(40).fill(255));
    else author.send(isBinary ? bytes : content);
  });
  server.handle(({ data }) => {
    if (data === "fail") throw new Error("private");
    return { answer: data };
  });
  await server.listen("127.0.0.1", 0);
  return server;
}

async function* input(...lines: string[]): AsyncGenerator<string> {
  yield* lines;
}

test("events <url> sends lines, and prints messages", async () => {
  await using server = await echo();
  const { code, out, notes } = await command(
    [server.url, "-p", "chat", "-w", "60"],
    input("hello", "//slash", "\u001b[31mred", "binary", "bye"),
  );
  assertEquals(out, [
    "hello",
    "/slash",
    "\\u001b[31mred",
    `<40 bytes> ${Array(32).fill("ff").join(" ")}…`,
  ]);
  assertEquals(notes, [
    `Connected to ${server.url}/ (events.v1, chat)`,
    "Closed: 4000 so long\\u001b (peer)",
  ]);
  assertStrictEquals(code, 0);
});

test("events <url> sends requests, and tells what fails", async () => {
  await using server = await echo();
  const { code, out, notes } = await command(
    [server.url],
    input("/request [1]", "/request fail", "/nothing", "/close 4001 done"),
  );
  // The close ends what is still asked, or comes after it.
  assert(out.every((line) => line === 'reply: {"answer":[1]}'), `${out}`);
  assertMatch(notes.join("\n"), /No such command: "\/nothing"/);
  assertMatch(notes.join("\n"), /^Closed: 4001 done \(local\)$/m);
  assert(!notes.join("\n").includes("private"));
  assertStrictEquals(code, 0);
});

test("events <url> joins channels, sends in them, and leaves them", async () => {
  await using server = await echo();
  const orders = channels(server).channel("orders/:id", {
    join: ({ data }) => data === "ada",
    snapshot: ({ params }) => ({ id: params.id }),
  });
  const left = Promise.withResolvers<void>();
  orders.on("message", ({ content }) => {
    server.to("orders/42").send(`${content}!`);
  });
  orders.on("leave", () => left.resolve());
  const heard = Promise.withResolvers<void>();
  async function* lines(): AsyncGenerator<string> {
    yield '/join orders/42 "ada"';
    yield "/join orders/43";
    await new Promise<void>((resolve) => orders.once("join", () => resolve()));
    yield "/to orders/42 hello";
    await heard.promise;
    yield "/leave orders/42";
    await left.promise;
    yield "/to orders/42 late";
  }
  const { code, out, notes } = await command(
    [server.url],
    lines(),
    undefined,
    heard.resolve,
  );
  assertEquals(out, ["orders/42: hello!"]);
  const text = notes.join("\n");
  assertMatch(text, /^Joined orders\/42: \{"id":"42"\}$/m);
  assertMatch(text, /^Left orders\/43: forbidden/m);
  assertMatch(text, /^Left orders\/42: left/m);
  assertMatch(text, /^Not in the channel "orders\/42": write \/join orders/m);
  assertStrictEquals(code, 0);
});

test("events --debug prints every frame", async () => {
  await using server = await echo();
  const { out, notes } = await command(
    [server.url, "--debug", "-w", "60"],
    input("hello", "bye"),
  );
  assertEquals(out, ["hello"]);
  const frames = notes.map((line) => line.replace(/^\S+ /, ""));
  assert(frames.includes('client 1 <- message "hello"'), frames.join("\n"));
  assert(frames.includes('client 1 close 4000 "so long\\u001b" (peer)'));
});

test("events <url> closes at the end of the input", async () => {
  await using server = await echo();
  const ended = server.waitFor("close");
  const { code } = await command([server.url, "--wait=0"], input("x"));
  const [, closeCode] = await ended;
  assertEquals([code, closeCode], [0, 1000]);
});

test("events --json prints each event as one line", async () => {
  await using server = await echo();
  const { out, notes } = await command(
    [server.url, "--json", "-w", "60"],
    input("a", "binary", "bye"),
  );
  const events = out.map((line) => JSON.parse(line));
  assertEquals(events, [
    {
      type: "connect",
      url: `${server.url}/`,
      protocol: "",
      speaksEvents: true,
    },
    { type: "message", text: "a" },
    { type: "message", base64: new Uint8Array(40).fill(255).toBase64() },
    { type: "close", code: 4000, reason: "so long\u001b", cause: "peer" },
  ]);
  assertEquals(notes, []);
});

test("events exits with 1 if the connection cannot be opened, or is lost", async () => {
  const server = await echo();
  const { url } = server;
  const lost = command([url, "-w", "60"], input());
  const [client] = await server.waitFor("connect");
  client.terminate();
  assertStrictEquals((await lost).code, 1);
  await server.close();
  const { code, out, notes } = await command([url]);
  assertEquals([code, out], [1, []]);
  assertMatch(notes.join(), /^Cannot connect to /);
});

test("events exits with 2 if the arguments are wrong", async () => {
  const { code, out, notes } = await command(["--nope"]);
  assertEquals([code, out], [2, []]);
  assertMatch(notes.join(), /--nope[^]*Try --help/);
});

test("events --bench measures round trips to an echo server", async () => {
  await using server = await echo();
  const { code, out } = await command(
    [server.url, "--bench", "3", "--duration", "0.2", "--json"],
  );
  assertStrictEquals(code, 0);
  const [result, histogram] = out.map((line) => JSON.parse(line));
  assert(result.messages >= 3 && result.p50 > 0 && result.max >= result.p99);
  assertEquals([result.clients, result.size], [3, 32]);
  const counts = histogram.buckets.map(({ count }: { count: number }) => count);
  assertStrictEquals(
    counts.reduce((sum: number, count: number) => sum + count),
    result.messages,
  );
});

test("events --listen serves an echo or a chat until it is stopped", async () => {
  for (const isChat of [false, true]) {
    const stop = new AbortController();
    const ready = Promise.withResolvers<string>();
    const serving = run(
      ["--listen", "127.0.0.1:0", ...isChat ? ["--chat"] : []],
      {
        lines: input(),
        isInteractive: false,
        print: () => {},
        note: (line) => {
          const url = /ws:\/\/\S+/.exec(line)?.[0];
          if (url) ready.resolve(url);
        },
      },
      stop.signal,
    );
    const url = await ready.promise;
    await using other = new ClientSocket();
    await using client = new ClientSocket();
    await other.connect(url);
    await client.connect(url);
    const heard = [client.waitFor("message")];
    if (isChat) heard.push(other.waitFor("message"));
    client.send("hi");
    for (const [message] of await Promise.all(heard)) {
      assertStrictEquals(message.content, "hi");
    }
    assertEquals(await client.request({ q: 1 }), { q: 1 });
    stop.abort();
    assertStrictEquals(await serving, 0);
  }
});

Deno.test({
  name: "cli.ts reads its standard input, and exits with its code",
  ignore: await lacksPermission("net", "run", "read"),
  async fn() {
    await using server = new Program(
      ["run", "--allow-net", "cli.ts", "--listen", "127.0.0.1:0"],
      { output: "stderr" },
    );
    const [url = ""] = (await server.line("Listening at ")).split(" ");
    await using client = Program.run("cli.ts", url);
    await client.write("hello");
    await client.line("hello");
    await client.write("/close 4001 done");
    assertStrictEquals(await client.exit(), 0);
    server.kill("SIGINT");
    assertStrictEquals(await server.exit(), 0);
  },
});
