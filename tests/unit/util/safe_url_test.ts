import { assert, assertStrictEquals } from "@std/assert";
import { withoutSecrets } from "../../../core/util/safe_url.ts";

Deno.test("withoutSecrets() keeps only scheme, host and path", () => {
  const cases: [string, string][] = [
    ["ws://localhost:3000", "ws://localhost:3000/"],
    ["wss://a.example/live", "wss://a.example/live"],
    ["wss://a.example/live?token=SECRET", "wss://a.example/live?…"],
    ["wss://ada:SECRET@a.example/live#SECRET", "wss://a.example/live"],
    ["redis://:SECRET@cache:6379/2", "redis://cache:6379/2"],
    // What is not a valid URL has its secrets in the same places.
    ["redis://ada:SECRET@cache:port", "…@cache:port"],
    ["ws://ada:SECRET@[::1/?token=SECRET", "…@[::1/"],
    ["a.example/live?token=SECRET", "a.example/live"],
    ["ada:SECRET@cache:6379", "ada:…"],
    ["", ""],
    ["ws://\u001b[2J", "ws://\\u001b[2J"],
  ];
  for (const [url, expected] of cases) {
    assertStrictEquals(withoutSecrets(url), expected);
    assert(!withoutSecrets(url).includes("SECRET"));
  }
  assertStrictEquals(
    withoutSecrets(new URL("ws://ada:SECRET@h/?x")),
    "ws://h/?…",
  );
});
