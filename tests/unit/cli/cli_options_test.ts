import {
  assertEquals,
  assertMatch,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import { HELP, parseOptions, UsageError } from "../../../cli/cli_options.ts";

Deno.test("parseOptions() reads a URL, and fills in the defaults", () => {
  assertEquals(parseOptions(["ws://localhost:3000"]), {
    mode: "connect",
    url: "ws://localhost:3000/",
    hostname: "localhost",
    port: 0,
    isChat: false,
    isJson: false,
    isReconnecting: false,
    isDebugging: false,
    protocols: [],
    headers: [],
    wait: 1_000,
    clients: 1,
    duration: 5_000,
    size: 32,
  });
  const urls = ["localhost:3000", "example.com/live", "https://example.com"]
    .map((text) => parseOptions([text])?.url);
  assertEquals(urls, [
    "ws://localhost:3000/",
    "ws://example.com/live",
    "https://example.com/",
  ]);
});

Deno.test("parseOptions() reads addresses, headers and numbers", () => {
  const listening = ["3000", "0.0.0.0:80", "[::1]:8080"].map((text) => {
    const options = parseOptions(["--listen", text, "--chat"]);
    return [options?.hostname, options?.port, options?.isChat];
  });
  assertEquals(listening, [
    ["localhost", 3000, true],
    ["0.0.0.0", 80, true],
    ["::1", 8080, true],
  ]);
  const options = parseOptions([
    "-H",
    "authorization: Bearer a:b",
    "--header=x-empty:",
    "-p",
    "chat",
    "--bench",
    "20",
    "--duration=0.5",
    "--size",
    "1024",
    "-w",
    "0",
    "ws://localhost",
  ]);
  assertEquals(options?.headers, [
    ["authorization", "Bearer a:b"],
    ["x-empty", ""],
  ]);
  assertEquals(
    [options?.mode, options?.clients, options?.duration, options?.size],
    ["bench", 20, 500, 1024],
  );
  assertEquals([options?.protocols, options?.wait], [["chat"], 0]);
});

Deno.test("parseOptions() refuses what it cannot do, and says what to write", () => {
  const cases: [string[], string][] = [
    [[], "ws://localhost:3000"],
    [["ftp://example.com"], "ws:// or wss://"],
    [["ws://a", "ws://b"], 'Unexpected argument "ws://b"'],
    [["--nope", "ws://a"], "--nope"],
    [["--listen", "3000", "ws://a"], 'Unexpected argument "ws://a"'],
    [["--listen", "x"], "host:port"],
    [["--listen", "70000"], "host:port"],
    [["--listen", "1", "--bench", "1"], "together"],
    [["--chat", "ws://a"], "--chat needs --listen"],
    [["--bench", "0", "ws://a"], "--bench"],
    [["--size", "-1", "ws://a"], "--size"],
    [["--wait", "soon", "ws://a"], "--wait"],
    [["--duration", "", "ws://a"], "--duration"],
    [["-H", "nothing", "ws://a"], "name: value"],
  ];
  for (const [args, text] of cases) {
    assertThrows(() => parseOptions(args), UsageError, text);
  }
  // A header may hold a secret.
  const error = assertThrows(() => parseOptions(["-H", "secret", "ws://a"]));
  assertStrictEquals(`${error}`.includes("secret"), false);
});

Deno.test("parseOptions() leaves --help to its caller", () => {
  assertStrictEquals(parseOptions(["--help"]), undefined);
  assertStrictEquals(parseOptions(["-h", "--listen", "1"]), undefined);
  assertMatch(HELP, /^Usage:/m);
  for (const line of HELP.split("\n")) {
    assertStrictEquals(line.length <= 80, true, line);
  }
});
