import { assertEquals, assertStrictEquals } from "@std/assert";
import { asksForUpgrade, pickProtocol, refuse } from "../core/admission.ts";

const GOOD = {
  host: "localhost",
  upgrade: "websocket",
  connection: "Upgrade",
  "sec-websocket-version": "13",
  "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
};

function handshake(
  headers: Record<string, string | undefined> = {},
  method = "GET",
) {
  const all = new Headers(GOOD);
  for (const [name, value] of Object.entries(headers)) {
    if (value === undefined) all.delete(name);
    else all.set(name, value);
  }
  return { method, headers: all };
}

Deno.test("refuse() lets valid handshakes pass", () => {
  assertStrictEquals(refuse(handshake()), undefined);
  const variants = [
    { upgrade: "WebSocket" },
    { connection: "keep-alive, Upgrade" },
    { connection: "upgrade" },
    { connection: "keep-alive,upgrade" },
    { "sec-websocket-key": "AAAAAAAAAAAAAAAAAAAAAA==" },
  ];
  for (const headers of variants) {
    assertStrictEquals(refuse(handshake(headers)), undefined);
  }
});

Deno.test("refuse() says what is wrong with all others", () => {
  const cases: [Record<string, string | undefined>, number][] = [
    [{ upgrade: undefined }, 426],
    [{ upgrade: "h2c" }, 426],
    [{ upgrade: "websockets" }, 426],
    [{ upgrade: "h2c, websocket" }, 400],
    [{ upgrade: "websocket, websocket" }, 400],
    [{ host: undefined }, 400],
    [{ connection: undefined }, 400],
    [{ connection: "keep-alive" }, 400],
    [{ connection: "upgrade-insecure" }, 400],
    [{ "sec-websocket-version": undefined }, 426],
    [{ "sec-websocket-version": "8" }, 426],
    [{ "sec-websocket-version": "13, 8" }, 426],
    [{ "sec-websocket-key": undefined }, 400],
    [{ "sec-websocket-key": "" }, 400],
    [{ "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ" }, 400],
    [{ "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZR==" }, 400],
    [{ "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZSE=" }, 400],
    [{ "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==, x" }, 400],
  ];
  for (const [headers, status] of cases) {
    assertEquals(
      refuse(handshake(headers))?.status,
      status,
      Deno.inspect(headers),
    );
  }
});

Deno.test("refuse() names the headers that its status asks for", () => {
  assertEquals(refuse(handshake({}, "POST")), {
    status: 405,
    why: "Cannot upgrade a POST request: use GET",
    headers: { allow: "GET" },
  });
  const version = refuse(handshake({ "sec-websocket-version": "12" }));
  assertEquals(version?.headers?.["sec-websocket-version"], "13");
  const plain = refuse(handshake({ upgrade: undefined }));
  assertEquals(plain?.headers?.upgrade, "websocket");
});

Deno.test("asksForUpgrade() is true however bad the rest of the request is", () => {
  assertStrictEquals(
    asksForUpgrade(handshake({ connection: undefined })),
    true,
  );
  assertStrictEquals(asksForUpgrade(handshake({ upgrade: undefined })), false);
});

Deno.test("pickProtocol() picks the client's dearest that the server speaks", () => {
  const cases: [string | undefined, string[], string][] = [
    ["a, b", ["b", "a"], "a"],
    ["a,b", ["b"], "b"],
    ["x, b", ["b"], "b"],
    ["x", ["b"], ""],
    ["B", ["b"], ""], // names are case-sensitive
    [undefined, ["b"], ""],
    ["a", [], ""],
    ["", [""], ""],
  ];
  for (const [asked, spoken, picked] of cases) {
    const { headers } = handshake({ "sec-websocket-protocol": asked });
    assertStrictEquals(pickProtocol(headers, spoken), picked);
  }
});
