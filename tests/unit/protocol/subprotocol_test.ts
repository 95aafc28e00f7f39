/** Which subprotocols are asked for, and which one is spoken. */

import { assertEquals, assertMatch, assertStrictEquals } from "@std/assert";
import {
  choose,
  type Dialect,
  offer,
  understand,
  visit,
} from "../../../core/protocol/subprotocol.ts";

const OURS = { isPlain: false, codec: "" };
const PLAIN = { isPlain: true, codec: "" };
const PACKED = { isPlain: false, codec: "msgpack" };

interface Side {
  own?: string[];
  dialect?: Dialect;
}

/** What both sides make of each other: what the answer says, and what each reads. */
function agree(
  client: Side,
  server: Side,
) {
  const dialect = client.dialect ?? OURS;
  const asked = offer(client.own ?? [], dialect, "resume.1");
  const choice = choose(asked, server.own ?? [], server.dialect ?? OURS);
  if (typeof choice === "string") return choice;
  const { token, visitor, ...spoken } = choice;
  assertEquals(visitor, undefined, "nobody keeps anything");
  return { token, server: spoken, client: understand(token, dialect) };
}

Deno.test("our own two ends speak events.v1, beside the program's subprotocol", () => {
  const bare = { protocol: "", isEvents: true, hasParts: true };
  assertEquals(agree({}, {}), {
    token: "events.v1-parts",
    server: bare,
    client: bare,
  });
  const chat = { protocol: "chat", isEvents: true, hasParts: true };
  assertEquals(agree({ own: ["x", "chat"] }, { own: ["y", "chat"] }), {
    token: "events.v1-parts+chat",
    server: chat,
    client: chat,
  });
  // They have none in common, which is no reason not to talk.
  assertEquals(agree({ own: ["x"] }, { own: ["y"] }), {
    token: "events.v1-parts",
    server: bare,
    client: bare,
  });
});

Deno.test("who can come back says who it is, and where it was", () => {
  const visitors = [
    { session: "0az", place: undefined, away: 0 },
    {
      session: "a".repeat(32),
      place: { epoch: "e1", offset: Number.MAX_SAFE_INTEGER - 1 },
      away: 120_000,
    },
  ];
  const visitorOf = (asked: string[]) => {
    const choice = choose(asked, ["chat"], { ...OURS, isKeeping: true });
    return typeof choice === "string" ? choice : choice.visitor;
  };
  for (const visitor of visitors) {
    for (const own of [[], ["chat"], ["x"]]) {
      assertEquals(visitorOf(offer(own, OURS, visit(visitor))), visitor);
    }
  }
  // What cannot be read is nobody.
  for (
    const one of [
      ...["resume", "resume.", "resume.A", `resume.${"a".repeat(33)}`],
      ...["resume.a.b", "resume.a.b.1", "resume.a.b.1.x", "resume.a.b.1.1.1"],
      ...["resume.a..1.1", "resume.a.b.1.-1", "xresume.a"],
    ]
  ) assertEquals(visitorOf(["events.v1", one]), undefined, one);
  assertEquals(offer(["chat"], PLAIN, "resume.a"), ["chat"]);
});

Deno.test("either side can do without events.v1", () => {
  const none = { protocol: "", isEvents: false };
  assertEquals(agree({ dialect: PLAIN }, {}), {
    token: "",
    server: none,
    client: none,
  });
  // A browser refuses an answer without a subprotocol if it has asked for some.
  assertEquals(agree({}, { dialect: PLAIN }), {
    token: "plain",
    server: none,
    client: none,
  });
  const chat = { protocol: "chat", isEvents: false };
  const pairs: [Side, Side][] = [
    [{ own: ["chat"], dialect: PLAIN }, { own: ["chat"] }],
    [{ own: ["chat"] }, { own: ["chat"], dialect: PLAIN }],
  ];
  for (const [client, server] of pairs) {
    assertEquals(agree(client, server), {
      token: "chat",
      server: chat,
      client: chat,
    });
  }
});

Deno.test("a server that takes the first subprotocol whatever it is speaks no events.v1", () => {
  for (const protocols of [[], ["chat"]]) {
    const [first = ""] = offer(protocols, OURS, "resume.1");
    const [protocol = ""] = protocols;
    assertEquals(understand(first, OURS), { protocol, isEvents: false });
  }
  assertEquals(understand("", OURS), { protocol: "", isEvents: false });
});

Deno.test("a plain client gets the first subprotocol it asks for that the server speaks", () => {
  const cases: [asked: string[], spoken: string[], picked: string][] = [
    [["a", "b"], ["b", "a"], "a"],
    [["x", "b"], ["b"], "b"],
    [["x"], ["b"], ""],
    [["B"], ["b"], ""], // names are case-sensitive
    [[], ["b"], ""],
    [["a"], [], ""],
    [["events.v1", "a"], ["a"], "a"],
  ];
  for (const [asked, spoken, picked] of cases) {
    const choice = choose(asked, spoken, OURS);
    assertEquals(choice, { protocol: picked, isEvents: false, token: picked });
  }
});

Deno.test("both ends agree on a codec, or do not connect", () => {
  const packed = { protocol: "", isEvents: true, hasParts: true };
  assertEquals(agree({ dialect: PACKED }, { dialect: PACKED }), {
    token: "events.v1-parts.msgpack",
    server: packed,
    client: packed,
  });
  const client = { own: ["chat"], dialect: PACKED };
  assertEquals(agree(client, { own: ["chat"], dialect: PACKED }), {
    token: "events.v1-parts.msgpack+chat",
    server: { protocol: "chat", isEvents: true, hasParts: true },
    client: { protocol: "chat", isEvents: true, hasParts: true },
  });
  assertMatch(
    String(agree({ dialect: PACKED }, {})),
    /does not speak .*events\.v1\.msgpack: its codec is JSON/,
  );
  for (const dialect of [OURS, PLAIN, { isPlain: false, codec: "cbor" }]) {
    assertStrictEquals(
      agree({ dialect }, { dialect: PACKED }),
      "This server speaks msgpack: ask for the subprotocol events.v1.msgpack",
    );
  }
  assertStrictEquals(understand("", PACKED), undefined);
  assertStrictEquals(understand("events.v1", PACKED), undefined);
});

Deno.test("an end that knows nothing of parts speaks events.v1 without them", () => {
  const offered = offer(["x", "chat"], OURS, "resume.1");
  assertEquals(offered, [
    ...["x", "chat"],
    ...["events.v1-parts+x", "events.v1+x"],
    ...["events.v1-parts+chat", "events.v1+chat"],
    ...["events.v1-parts", "events.v1", "resume.1"],
  ]);
  assertEquals(offer([], OURS, "resume.1"), [
    ...["plain", "events.v1-parts", "events.v1", "resume.1"],
  ]);
  const without = { protocol: "", isEvents: true };
  assertEquals(understand("events.v1", OURS), without);
  assertEquals(choose(["plain", "events.v1"], [], OURS), {
    ...without,
    token: "events.v1",
    visitor: undefined,
  });
  const chat = { protocol: "chat", isEvents: true };
  assertEquals(choose(["events.v1+chat"], ["chat"], OURS), {
    ...chat,
    token: "events.v1+chat",
    visitor: undefined,
  });
  for (
    const one of ["events.v1-part", "events.v1-parts.x", "events.v1-partsx"]
  ) {
    assertEquals(understand(one, OURS), { protocol: one, isEvents: false });
  }
});
