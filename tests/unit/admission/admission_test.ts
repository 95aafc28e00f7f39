import {
  assert,
  assertEquals,
  assertMatch,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import { FakeTime } from "@std/testing/time";
import {
  Admission,
  type AdmissionResult,
} from "../../../core/admission/admission.ts";
import type { AdmissionOptions } from "../../../core/admission/admission_options.ts";
import type { AllowList } from "../../../core/admission/allow_list.ts";
import { sameOrigin } from "../../../core/admission/origins.ts";
import {
  networkOf,
  remoteAddressOf,
} from "../../../core/admission/remote_address.ts";
import type { RequestInfo } from "../../../core/runtime/deno_server.ts";
import {
  checkHandshake,
  isUpgradeRequest,
} from "../../../core/admission/handshake.ts";

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

Deno.test("checkHandshake() accepts valid handshakes", () => {
  assertStrictEquals(checkHandshake(handshake()), undefined);
  const variants = [
    { upgrade: "WebSocket" },
    { connection: "keep-alive, Upgrade" },
    { connection: "upgrade" },
    { connection: "keep-alive,upgrade" },
    { "sec-websocket-key": "AAAAAAAAAAAAAAAAAAAAAA==" },
  ];
  for (const headers of variants) {
    assertStrictEquals(checkHandshake(handshake(headers)), undefined);
  }
});

Deno.test("checkHandshake() returns the reason for invalid handshakes", () => {
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
      checkHandshake(handshake(headers))?.status,
      status,
      Deno.inspect(headers),
    );
  }
});

Deno.test("checkHandshake() returns the headers required by the status", () => {
  assertEquals(checkHandshake(handshake({}, "POST")), {
    status: 405,
    reason: "Cannot upgrade a POST request: use GET",
    headers: { allow: "GET" },
  });
  const version = checkHandshake(handshake({ "sec-websocket-version": "12" }));
  assertEquals(version?.headers?.["sec-websocket-version"], "13");
  const plain = checkHandshake(handshake({ upgrade: undefined }));
  assertEquals(plain?.headers?.upgrade, "websocket");
});

Deno.test("isUpgradeRequest() ignores the rest of the request", () => {
  assertStrictEquals(
    isUpgradeRequest(handshake({ connection: undefined })),
    true,
  );
  assertStrictEquals(
    isUpgradeRequest(handshake({ upgrade: undefined })),
    false,
  );
});

/** A request for an upgrade, as `Deno.serve` would give it. */
function ask(
  headers: Record<string, string> = {},
  url = "http://localhost/",
): Request {
  return new Request(url, { headers: { ...GOOD, ...headers } });
}

/** Who asks, by address. */
function from(hostname: string, port = 1): RequestInfo {
  return { remoteAddr: { hostname, port } };
}

/** What came of a request: the context, or the status of the refusal. */
function outcome(verdict: AdmissionResult | Promise<AdmissionResult>): unknown {
  if (verdict instanceof Promise) return "undecided";
  return "admitted" in verdict
    ? { context: verdict.admitted.context }
    : verdict.refusal.status;
}

/** An admission, and the errors that it has told. */
function door(options: AdmissionOptions): {
  readonly admission: Admission<unknown>;
  readonly errors: unknown[];
} {
  const errors: unknown[] = [];
  const admission = new Admission(
    options,
    { isPlain: false, codecName: "" },
    (error) => errors.push(error),
  );
  return { admission, errors };
}

Deno.test("Admission admits valid requests by default", () => {
  const { admission } = door({});
  const request = ask(
    { origin: "https://anywhere.example", "sec-websocket-protocol": "x" },
    "http://localhost:3000/a%20b?token=1",
  );
  assertEquals(admission.admit(request, from("::1", 5)), {
    admitted: {
      url: "http://localhost:3000/a%20b?token=1",
      path: "/a%20b",
      remoteAddress: "[::1]:5",
      selected: { protocol: "", isEvents: false, subprotocol: "" },
      context: undefined,
      expiresAt: Infinity,
    },
  });
  const secure = admission.admit(ask({}, "https://localhost/"));
  assert("admitted" in secure);
  assertStrictEquals(secure.admitted.url, "https://localhost/");
});

Deno.test("Admission rejects invalid numbers", () => {
  const names = [
    "authorizeTimeout",
    "maxConnections",
    "maxConnectionsPerAddress",
    "trustProxy",
  ];
  for (const name of names) {
    assertThrows(() => door({ [name]: -1 }), RangeError, `"${name}"`);
  }
});

const PAGES: [AllowList | undefined, string[], string[]][] = [
  [undefined, ["https://a.example", "null", "nonsense"], []],
  [[], [], ["https://a.example", "null", ""]],
  [
    ["https://a.example", "http://b.example:8080", "null"],
    ["https://a.example", "http://b.example:8080", "null"],
    [
      "http://a.example",
      "https://a.example:444",
      "https://a.example.evil.net",
      "https://b.example:8080",
      "https://a.example, https://evil.net",
      "",
    ],
  ],
  [
    [/https:\/\/(?:\w+\.)?a\.example/gy],
    ["https://a.example", "https://www.a.example"],
    [
      "https://evil-a.example",
      "https://a.example.evil.net",
      "evil https://a.example",
    ],
  ],
  [(origin) => origin.endsWith("b"), ["https://b"], ["https://a"]],
];

Deno.test("Admission option origins admits allowed pages", () => {
  for (const [origins, allowed, refused] of PAGES) {
    const { admission } = door(origins === undefined ? {} : { origins });
    for (const round of [1, 2]) { // no pattern remembers
      for (const origin of allowed) {
        const verdict = admission.admit(ask({ origin }));
        assert("admitted" in verdict, `${origin}, round ${round}`);
      }
      for (const origin of refused) {
        const verdict = admission.admit(ask({ origin }));
        assertStrictEquals(outcome(verdict), 403, `${origin}, round ${round}`);
      }
    }
    assert("admitted" in admission.admit(ask()), "no page, no origin");
  }
});

Deno.test("Admission option origins rejects entries that never match", () => {
  const cases: [string, string][] = [
    ["https://a.example/", 'use "https://a.example"'],
    ["https://a.example/chat", 'use "https://a.example"'],
    ["https://A.example", 'use "https://a.example"'],
    ["https://a.example:443", 'use "https://a.example"'],
    ["a.example", "use an origin such as"],
    ["*", "or () => true to allow all"],
    ["", "use an origin such as"],
  ];
  for (const [origin, advice] of cases) {
    assertThrows(() => door({ origins: [origin] }), TypeError, advice);
  }
  door({ origins: ["null", "tauri://localhost", "http://[::1]:3000"] });
});

Deno.test("sameOrigin() compares hosts", () => {
  const cases: [string, string, boolean][] = [
    ["http://a.example", "a.example", true],
    ["https://a.example", "a.example", true], // a proxy speaks TLS
    ["https://a.example", "a.example:443", true],
    ["http://a.example", "A.EXAMPLE:80", true],
    ["http://a.example:3000", "a.example:3000", true],
    ["http://a.example:3000", "a.example:3001", false],
    ["http://a.example", "b.example", false],
    ["http://a.example", "sub.a.example", false],
    ["http://a.example:80", "a.example:443", false],
    ["null", "null", false],
    ["", "", false],
    // The host of a file is empty, also if it is localhost.
    ["file://", "localhost", false],
    ["file://localhost", "localhost", false],
    ["app://a.example", "a.example", false],
    ["chrome-extension://a.example", "a.example", false],
    ["http://a.example", "a b", false],
  ];
  const { admission } = door({ origins: sameOrigin });
  for (const [origin, host, same] of cases) {
    const request = ask({ origin, host });
    assertStrictEquals(sameOrigin(origin, request), same, `${origin} ${host}`);
    assertStrictEquals("admitted" in admission.admit(request), same);
  }
});

Deno.test("sameOrigin() refuses http: pages for wss: endpoints", () => {
  const cases: [string, string, boolean][] = [
    ["http://a.example", "https://a.example/", false],
    ["https://a.example", "https://a.example/", true],
    ["http://a.example", "http://a.example/", true],
    ["https://a.example", "http://a.example/", true], // a proxy does TLS
  ];
  for (const [origin, url, isSame] of cases) {
    const request = ask({ origin, host: "a.example" }, url);
    assertStrictEquals(sameOrigin(origin, request), isSame, url);
  }
});

Deno.test("Admission option paths admits only listed paths", () => {
  const { admission } = door({ paths: ["/live", "/a%20b", /\/rooms\/\d+/] });
  const at = (path: string) =>
    outcome(admission.admit(ask({}, `http://localhost${path}`)));
  for (const path of ["/live", "/live?x=1", "/x/../live", "/a b", "/rooms/7"]) {
    assertEquals(at(path), { context: undefined }, path);
  }
  for (
    const path of ["/", "/live/", "/LIVE", "/live%2f", "/rooms/7/x", "//live"]
  ) {
    assertStrictEquals(at(path), 404, path);
  }
  const no = [
    "live",
    "/live?x",
    "/live?",
    "/x/../live",
    "/x/%2e/live",
    "//x/live",
  ];
  for (const path of [...no, "ws://x/live", "/live#x", "/a\\b/../live"]) {
    assertThrows(() => door({ paths: [path] }), TypeError, 'in "paths"');
  }
});

Deno.test("Admission option paths compares normalized encodings", () => {
  for (const path of ["/café", "/caf%C3%A9", "/caf%c3%a9"]) {
    const { admission } = door({ paths: [path] });
    for (const asked of ["/café", "/caf%C3%A9", "/caf%c3%a9"]) {
      const request = ask({}, `http://localhost${asked}`);
      assert("admitted" in admission.admit(request), `${path} ${asked}`);
    }
  }
});

Deno.test("Admission refuses encoded dot segments", () => {
  const { admission } = door({
    paths: ["/live", "/a/live", "/..live", "/li.ve"],
  });
  const at = (raw: string) => {
    const request = ask();
    Object.defineProperty(request, "url", { value: `http://localhost${raw}` });
    return outcome(admission.admit(request));
  };
  for (
    const raw of [
      "/x/../live",
      "/x/%2e%2e/live",
      "/x/%2E./live",
      "/./live",
      "/a//../live",
      "/x\\..\\live",
      "/live/.",
    ]
  ) assertStrictEquals(at(raw), 400, raw);
  for (const raw of ["/live", "/live?x=/../y", "/..live", "/li.ve"]) {
    assertEquals(at(raw), { context: undefined }, raw);
  }
});

Deno.test("Admission refuses cross-site requests with credentials by default", () => {
  const { admission } = door({});
  const cases: [Record<string, string>, boolean][] = [
    [{ origin: "https://evil.example" }, true],
    [{ origin: "https://evil.example", cookie: "id=1" }, false],
    [{ origin: "https://evil.example", authorization: "Basic eA==" }, false],
    [{ origin: "null", cookie: "id=1" }, false],
    [{ origin: "", cookie: "id=1" }, false],
    [{ origin: "https://a.example", cookie: "id=1" }, true], // TLS at a proxy
    [{ origin: "http://a.example", cookie: "id=1" }, true],
    [{ origin: "https://a.example:8443", cookie: "id=1" }, false],
    [{ origin: "https://sub.a.example", cookie: "id=1" }, false],
    [{ origin: "https://a.example.evil.example", cookie: "id=1" }, false],
    [{ origin: "http://localhost:5173", cookie: "id=1" }, false],
    [{ cookie: "id=1" }, true], // no page
    [
      { host: "127.0.0.1:3000", origin: "http://localhost:5173", cookie: "a" },
      true,
    ],
    [{ host: "localhost:3000", origin: "http://[::1]:80", cookie: "a" }, true],
    [
      { host: "localhost:3000", origin: "http://app.localhost", cookie: "a" },
      true,
    ],
    [{
      host: "localhost",
      origin: "http://localhost.evil.example",
      cookie: "a",
    }, false],
    [
      { host: "localhost", origin: "http://127.evil.example", cookie: "a" },
      false,
    ],
    [{ host: "localhost", origin: "http://evil.example", cookie: "a" }, false],
    [{ host: "localhost", origin: "file://", cookie: "a" }, false],
    [{ host: "localhost", origin: "app://localhost", cookie: "a" }, false],
  ];
  for (const [headers, isAdmitted] of cases) {
    const verdict = admission.admit(ask({ host: "a.example", ...headers }));
    const about = JSON.stringify(headers);
    assertStrictEquals("admitted" in verdict, isAdmitted, about);
    if (!("refusal" in verdict)) continue;
    assertStrictEquals(verdict.refusal.status, 403);
    assertMatch(verdict.refusal.advice ?? "", /"origins"/);
  }
  const { admission: open } = door({ origins: () => true });
  const foreign = ask({ origin: "https://evil.example", cookie: "id=1" });
  assert("admitted" in open.admit(foreign));
});

Deno.test("Admission option protocols selects only supported subprotocols", () => {
  const { admission } = door({ protocols: ["chat.v2", "chat.v1"] });
  const spoken = (asked: string) => {
    const request = ask({ "sec-websocket-protocol": asked });
    const verdict = admission.admit(request);
    return "admitted" in verdict && verdict.admitted.selected.protocol;
  };
  assertStrictEquals(spoken("chat.v1, chat.v2"), "chat.v1");
  assertStrictEquals(spoken("x, chat.v2"), "chat.v2");
  assertStrictEquals(spoken("x"), "");
});

Deno.test("Admission option maxConnections applies at the limit", async () => {
  for (const max of [0, 1, 3]) {
    const { admission } = door({ maxConnections: max });
    const full = { status: 503, reason: "There are too many connections" };
    for (let i = 0; i < max; i++) assert("admitted" in admission.admit(ask()));
    for (let i = 0; i < 3; i++) {
      const verdict = admission.admit(ask());
      assert("refusal" in verdict);
      const headers = { "retry-after": "5" };
      assertEquals(verdict.refusal, { ...full, headers });
    }
    if (max === 0) continue;
    admission.release("unknown");
    assert("admitted" in admission.admit(ask()));
    assertStrictEquals(outcome(admission.admit(ask())), 503);
  }
  // Who is being decided about has a place, and gives it back if refused.
  const decision = Promise.withResolvers<boolean>();
  const { admission } = door({
    maxConnections: 1,
    authorize: () => decision.promise,
  });
  const first = admission.admit(ask());
  assertStrictEquals(outcome(await admission.admit(ask())), 503);
  decision.resolve(false);
  assertStrictEquals(outcome(await first), 403);
  assertStrictEquals(outcome(await admission.admit(ask())), 403);
});

Deno.test("Admission option maxConnectionsPerAddress applies at the limit", () => {
  const { admission } = door({
    maxConnectionsPerAddress: 2,
    maxConnections: 5,
  });
  const admit = (host: string, port: number) =>
    outcome(admission.admit(ask(), from(host, port)));
  const ok = { context: undefined };
  assertEquals(admit("192.0.2.1", 1), ok);
  assertEquals(admit("::ffff:192.0.2.1", 2), ok); // the same, by IPv6
  assertStrictEquals(admit("192.0.2.1", 3), 429);
  assertEquals(admit("192.0.2.2", 1), ok);
  assertEquals(admit("2001:db8::1", 1), ok);
  assertEquals(admit("2001:db8:0:0:ffff::2", 1), ok); // the same network
  assertStrictEquals(admit("192.0.2.2", 2), 503);
  admission.release("192.0.2.2:1");
  assertStrictEquals(admit("2001:db8::3", 1), 429);
  const refused = admission.admit(ask(), from("2001:db8::3"));
  assert("refusal" in refused);
  assertEquals(refused.refusal, {
    status: 429,
    reason: "There are too many connections from 2001:db8:0:0::/64",
    headers: { "retry-after": "5" },
  });
  admission.release("[2001:db8::1]:1");
  assertEquals(admit("2001:db8:0:0::3", 1), ok);
  const { admission: other } = door({ maxConnectionsPerAddress: 1 });
  assertEquals(outcome(other.admit(ask())), ok);
  assertStrictEquals(outcome(other.admit(ask())), 429); // both are "unknown"
});

Deno.test("networkOf() returns the IPv4 address or 64 bits of an IPv6 address", () => {
  const cases: [string, string][] = [
    ["192.0.2.1:80", "192.0.2.1"],
    ["192.0.2.1", "192.0.2.1"],
    ["[::ffff:192.0.2.1]:80", "192.0.2.1"],
    ["[2001:DB8:1:2:3:4:5:6]:80", "2001:db8:1:2::/64"],
    ["2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"],
    ["[2001:0db8:0001:0002::]", "2001:db8:1:2::/64"],
    ["1::2:3:4:5:6:7", "1:0:2:3::/64"],
    ["::1", "0:0:0:0::/64"],
    ["fe80::1%eth0", "fe80:0:0:0::/64"],
    ["unknown", "unknown"],
    ["a.example:80", "a.example"],
  ];
  for (const [address, network] of cases) {
    assertStrictEquals(networkOf(address), network, address);
  }
});

Deno.test("remoteAddressOf() converts IPv4-mapped addresses", () => {
  const none = new Headers();
  for (
    const [hostname, address] of [
      ["::ffff:192.0.2.1", "192.0.2.1:7"],
      ["::FFFF:c000:201", "192.0.2.1:7"],
      ["0:0:0:0:0:ffff:192.0.2.1", "192.0.2.1:7"],
      ["::ffff:1", "[::ffff:1]:7"],
      ["2001:db8::ffff:1:2", "[2001:db8::ffff:1:2]:7"],
      ["::1", "[::1]:7"],
    ] as const
  ) assertStrictEquals(remoteAddressOf(none, from(hostname, 7), 0), address);
});

Deno.test("Admission option trustProxy trusts that many entries of X-Forwarded-For", () => {
  const cases: [number, string | undefined, string][] = [
    [0, undefined, "192.0.2.9:7"],
    [0, "198.51.100.1", "192.0.2.9:7"], // anybody could write that
    [1, undefined, "192.0.2.9:7"],
    [1, "198.51.100.1", "198.51.100.1"],
    [1, "203.0.113.66, 198.51.100.1", "198.51.100.1"],
    [2, "203.0.113.66, 198.51.100.1, 10.0.0.1", "198.51.100.1"],
    [2, "198.51.100.1", "198.51.100.1"], // came by the second proxy
    [1, "", "192.0.2.9:7"],
    // An entry that is not an address shows that a proxy did not add its own.
    [1, "203.0.113.66, ", "192.0.2.9:7"],
    [1, " , 203.0.113.66 ,\t", "192.0.2.9:7"],
    [1, "203.0.113.66, unknown", "192.0.2.9:7"],
    [1, "203.0.113.66, for=10.0.0.1", "192.0.2.9:7"],
    [2, "203.0.113.66, , 10.0.0.1", "192.0.2.9:7"],
    [2, "203.0.113.66, 198.51.100.1, _hidden", "192.0.2.9:7"],
    [1, "198.51.100.256", "192.0.2.9:7"],
    [1, "198.51.100", "192.0.2.9:7"],
    [1, "198.51.100.1:65536", "192.0.2.9:7"],
    [1, "[2001:db8::1", "192.0.2.9:7"],
    [1, "2001:db8::1::2", "192.0.2.9:7"],
    [1, "::1\x1b[2J".replace("\x1b", "%1b"), "192.0.2.9:7"],
    [1, `${"1".repeat(100)}.1.1.1`, "192.0.2.9:7"],
    [1, "198.51.100.1:8080", "198.51.100.1:8080"],
    [1, "2001:db8::1", "2001:db8::1"],
    [1, "[2001:db8::1]:8080", "[2001:db8::1]:8080"],
    [1, "[2001:db8::1]", "2001:db8::1"],
    [1, "::ffff:198.51.100.1", "198.51.100.1"],
    [1, "[::ffff:c633:6401]:80", "198.51.100.1:80"],
  ];
  for (const [proxies, told, address] of cases) {
    const headers = new Headers(
      told === undefined ? {} : {
        "x-forwarded-for": told,
      },
    );
    const info = from("192.0.2.9", 7);
    assertStrictEquals(remoteAddressOf(headers, info, proxies), address, told);
  }
  assertStrictEquals(remoteAddressOf(new Headers(), {}, 1), "unknown");
  const several = new Headers({ "x-forwarded-for": "203.0.113.66" });
  several.append("x-forwarded-for", "198.51.100.1");
  assertStrictEquals(remoteAddressOf(several, {}, 1), "198.51.100.1");
  const { admission } = door({ trustProxy: 1, maxConnectionsPerAddress: 1 });
  const admit = (told: string) =>
    outcome(
      admission.admit(ask({ "x-forwarded-for": told }), from("10.0.0.1")),
    );
  assertEquals(admit("198.51.100.1"), { context: undefined });
  assertEquals(admit("198.51.100.2"), { context: undefined });
  assertStrictEquals(admit("1.1.1.1, 198.51.100.1"), 429);
});

/** A response as packages and other realms have their own. */
class ForeignResponse {
  readonly headers = new Headers();
  constructor(readonly status: number) {}
}

Deno.test("Admission option authorize refuses and reports a returned error", async () => {
  const foreign = Object.create(null, {
    [Symbol.toStringTag]: { value: "Error" },
  });
  for (const error of [new Error("no"), new DOMException("no"), foreign]) {
    for (const authorize of [() => error, () => Promise.resolve(error)]) {
      const { admission, errors } = door({ authorize });
      assertStrictEquals(outcome(await admission.admit(ask())), 403);
      assertEquals(errors, [error]);
    }
  }
});

Deno.test("Admission option authorize refuses and reports a consumed Response", async () => {
  const response = new Response("log in first", { status: 401 });
  await response.text();
  const locked = new Response("log in first", { status: 401 });
  const reader = locked.body?.getReader();
  for (const read of [response, locked]) {
    const { admission, errors } = door({ authorize: () => read });
    assertStrictEquals(outcome(await admission.admit(ask())), 401);
    assertMatch(String(errors[0]), /body was already read: return a new/);
  }
  await reader?.cancel();
});

Deno.test("Admission option authorize validates response headers", async () => {
  const { admission } = door({
    authorize: (_request, { responseHeaders }) => {
      responseHeaders.append("set-cookie", "a=1");
      responseHeaders.append("set-cookie", "b=2");
      return true;
    },
  });
  const verdict = await admission.admit(ask());
  assert("admitted" in verdict);
  assertEquals(verdict.admitted.responseHeaders?.getSetCookie(), [
    "a=1",
    "b=2",
  ]);
  for (
    const name of [
      "Upgrade",
      "connection",
      "sec-websocket-accept",
      "Sec-WebSocket-Extensions",
      "content-length",
      "transfer-encoding",
    ]
  ) {
    const { admission, errors } = door({
      authorize: (_request, { responseHeaders }) => {
        responseHeaders.set(name, "x");
        return true;
      },
    });
    assertStrictEquals(outcome(await admission.admit(ask())), 500, name);
    assertMatch(String(errors[0]), /belongs to the handshake/);
  }
});

Deno.test("Admission option authorize returns the context or refuses", async () => {
  const cases: [() => unknown, unknown][] = [
    [() => ({ user: "ada" }), { context: { user: "ada" } }],
    [() => Promise.resolve("ada"), { context: "ada" }],
    // Something that can be awaited but is no promise is awaited, too.
    [() => ({ then: (go: (no: boolean) => void) => go(false) }), 403],
    [() => true, { context: true }],
    [() => 1, { context: 1 }],
    [() => ({}), { context: {} }],
    [() => ({ status: 401 }), { context: { status: 401 } }], // a user, say
    [() => 0, 403],
    [() => 0n, 403],
    [() => "", 403],
    [() => NaN, 403],
    [() => Promise.resolve(""), 403],
    [() => new ForeignResponse(401), 401],
    [() => ({ status: 401, headers: {}, body: "no" }), 401],
    [() => Promise.resolve(new ForeignResponse(429)), 429],
    [() => {
      throw new Response("no", { status: 418 });
    }, 418],
    [() => Promise.reject(new Response("no", { status: 407 })), 407],
    [() => {
      throw new ForeignResponse(410);
    }, 410],
    [() => false, 403],
    [() => null, 403],
    [() => undefined, 403],
    [() => Promise.resolve(), 403],
    [() => new Response("no", { status: 401 }), 401],
    [() => Promise.resolve(Response.json({}, { status: 402 })), 402],
  ];
  for (const [authorize, expected] of cases) {
    const { admission, errors } = door({ authorize });
    const verdict = await admission.admit(ask());
    assertEquals(outcome(verdict), expected, String(authorize));
    assertEquals(errors, []);
  }
});

Deno.test("authorize: an error or a function as result refuses, and is reported", async () => {
  class ForeignError {
    readonly message = "no";
    readonly stack = "ForeignError: no";
  }
  for (
    const result of [
      new Error("no"),
      new DOMException("no", "NotAllowedError"),
      new ForeignError(),
      () => true,
      async function* check() {},
    ]
  ) {
    for (const authorize of [() => result, () => Promise.resolve(result)]) {
      const { admission, errors } = door({ authorize });
      assertStrictEquals(outcome(await admission.admit(ask())), 403);
      assertStrictEquals(errors.length, 1);
    }
  }
});

Deno.test("Admission option authorize is called last, with the address", async () => {
  const calls: unknown[] = [];
  const { admission } = door({
    origins: [],
    paths: ["/live"],
    authorize: ({ url }, { remoteAddress, remoteAddr, path }) => {
      calls.push([url, remoteAddress, remoteAddr?.hostname, path]);
      return true;
    },
  });
  const url = "http://localhost/live?token=1";
  await admission.admit(ask({ origin: "http://x" }, url));
  await admission.admit(ask());
  await admission.admit(new Request(url));
  assertEquals(calls, []);
  await admission.admit(ask({}, url), from("::1", 9));
  assertEquals(calls, [[url, "[::1]:9", "::1", "/live"]]);
});

Deno.test("Admission option authorize refuses with its Response", async () => {
  const response = new Response("log in first", { status: 401 });
  const { admission } = door({ authorize: () => response });
  const verdict = await admission.admit(ask());
  assert("refusal" in verdict);
  assertStrictEquals(await verdict.refusal.response?.text(), "log in first");
  assertStrictEquals(response.bodyUsed, false); // it may be given again
});

Deno.test("Admission option authorize refuses a Response with status 0 with 500", async () => {
  for (const said of [Response.error(), Promise.resolve(Response.error())]) {
    const { admission, errors } = door({ authorize: () => said });
    assertStrictEquals(outcome(await admission.admit(ask())), 500);
    assertStrictEquals(errors.length, 1);
    assertMatch(
      String(errors[0]),
      /TypeError: .* use a status from 200 to 599/,
    );
  }
});

Deno.test("Admission option authorize refuses with 500 if it throws", async () => {
  const error = new Error("no database");
  const ways = [
    () => {
      throw error;
    },
    () => Promise.reject(error),
  ];
  for (const authorize of ways) {
    const { admission, errors } = door({ authorize, maxConnections: 1 });
    for (let i = 0; i < 2; i++) {
      assertStrictEquals(outcome(await admission.admit(ask())), 500);
    }
    assertEquals(errors, [error, error]);
  }
});

Deno.test("Admission option authorizeTimeout refuses with 504 and releases the connection", async () => {
  using time = new FakeTime();
  const slow = Promise.withResolvers<unknown>();
  const { admission, errors } = door({
    authorize: () => slow.promise,
    authorizeTimeout: 100,
    maxConnections: 1,
  });
  const first = admission.admit(ask());
  await time.tickAsync(99);
  assertStrictEquals(outcome(await admission.admit(ask())), 503);
  await time.tickAsync(1);
  assertStrictEquals(outcome(await first), 504);
  const second = admission.admit(ask());
  await time.tickAsync(99);
  slow.reject(new Error("too late for one, in time for the other"));
  assertStrictEquals(outcome(await second), 500);
  await time.tickAsync(1);
  assertStrictEquals(errors.length, 2);
  await time.tickAsync(1_000);
});

Deno.test("Admission.close() refuses requests that authorize admits later", async () => {
  const decision = Promise.withResolvers<boolean>();
  const { admission } = door({ authorize: () => decision.promise });
  const pending = admission.admit(ask());
  admission.close(7);
  decision.resolve(true);
  for (const verdict of [await pending, await admission.admit(ask())]) {
    assert("refusal" in verdict);
    assertEquals(verdict.refusal, {
      status: 503,
      reason: "The server is shutting down",
      headers: { "retry-after": "7" },
    });
  }
});

Deno.test("Admission accepts only true from functions", () => {
  for (const answer of [undefined, 0, "yes", Promise.resolve(false)]) {
    for (const [name, status] of [["origins", 403], ["paths", 404]]) {
      const options: object = { [String(name)]: () => answer };
      const verdict = door(options).admission.admit(
        ask({ origin: "http://x" }),
      );
      assertStrictEquals(outcome(verdict), status);
    }
  }
});
