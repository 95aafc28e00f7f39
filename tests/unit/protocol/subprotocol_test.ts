/** Which subprotocols are asked for, and which one is spoken. */

import { assertEquals, assertMatch, assertStrictEquals } from "@std/assert";
import {
  negotiate,
  offerSubprotocols,
  parseSelected,
  resumeSubprotocol,
  selectRefusal,
  type SubprotocolSupport,
} from "../../../core/protocol/subprotocol.ts";

const OURS = { isPlain: false, codecName: "" };
const PLAIN = { isPlain: true, codecName: "" };
const PACKED = { isPlain: false, codecName: "msgpack" };

interface Side {
  own?: string[];
  dialect?: SubprotocolSupport;
}

/** What both sides make of each other: what the answer says, and what each reads. */
function agree(
  client: Side,
  server: Side,
) {
  const support = client.dialect ?? OURS;
  const requested = offerSubprotocols(client.own ?? [], support, "resume.1");
  const selected = negotiate(
    requested,
    server.own ?? [],
    server.dialect ?? OURS,
  );
  if (typeof selected === "string") return selected;
  const { subprotocol: token, resume, ...spoken } = selected;
  assertEquals(resume, undefined, "nobody keeps anything");
  return { token, server: spoken, client: parseSelected(token, support) };
}

Deno.test("negotiate() selects events.v1 with the subprotocol of the application", () => {
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

Deno.test("resumeSubprotocol() encodes the token and the position", () => {
  const visitors = [
    { token: "0az", position: undefined, awayMs: 0 },
    {
      token: "a".repeat(32),
      position: { epoch: "e1", offset: Number.MAX_SAFE_INTEGER - 1 },
      awayMs: 120_000,
    },
  ];
  const visitorOf = (requested: string[]) => {
    const selected = negotiate(requested, ["chat"], {
      ...OURS,
      hasHistory: true,
    });
    return typeof selected === "string" ? selected : selected.resume;
  };
  for (const resume of visitors) {
    for (const own of [[], ["chat"], ["x"]]) {
      assertEquals(
        visitorOf(offerSubprotocols(own, OURS, resumeSubprotocol(resume))),
        resume,
      );
    }
  }
  // What cannot be read is nobody.
  for (
    const one of [
      ...["resume", "resume.", "resume.a~", `resume.${"a".repeat(4097)}`],
      ...["resume.a.b", "resume.a.b.1", "resume.a.b.1.x", "resume.a.b.1.1.1"],
      ...["resume.a..1.1", "resume.a.b.1.-1", "xresume.a"],
    ]
  ) assertEquals(visitorOf(["events.v1", one]), undefined, one);
  assertEquals(offerSubprotocols(["chat"], PLAIN, "resume.a"), ["chat"]);
});

Deno.test("negotiate() supports plain on either side", () => {
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

Deno.test("offerSubprotocols() detects servers that select the first token", () => {
  for (const protocols of [[], ["chat"]]) {
    const [first = ""] = offerSubprotocols(protocols, OURS, "resume.1");
    const [protocol = ""] = protocols;
    assertEquals(parseSelected(first, OURS), { protocol, isEvents: false });
  }
  assertEquals(parseSelected("", OURS), { protocol: "", isEvents: false });
});

Deno.test("negotiate() selects the first supported subprotocol of a plain client", () => {
  const cases: [asked: string[], spoken: string[], picked: string][] = [
    [["a", "b"], ["b", "a"], "a"],
    [["x", "b"], ["b"], "b"],
    [["x"], ["b"], ""],
    [["B"], ["b"], ""], // names are case-sensitive
    [[], ["b"], ""],
    [["a"], [], ""],
    [["events.v1", "a"], ["a"], "a"],
  ];
  for (const [requested, spoken, picked] of cases) {
    const selected = negotiate(requested, spoken, OURS);
    assertEquals(selected, {
      protocol: picked,
      isEvents: false,
      subprotocol: picked,
    });
  }
});

Deno.test("negotiate() refuses a client without the codec", () => {
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
  for (const support of [OURS, PLAIN, { isPlain: false, codecName: "cbor" }]) {
    assertStrictEquals(
      agree({ dialect: support }, { dialect: PACKED }),
      "This server speaks msgpack: ask for the subprotocol events.v1.msgpack",
    );
  }
});

Deno.test("a codec works without events.v1", () => {
  // A server that selects the first subprotocol, whatever it is, knows no codec.
  for (const protocols of [[], ["chat"]]) {
    const [first = ""] = offerSubprotocols(protocols, PACKED, "resume.1");
    const [protocol = ""] = protocols;
    assertEquals(parseSelected(first, PACKED), { protocol, isEvents: false });
  }
  const plainPacked = { isPlain: true, codecName: "msgpack" };
  const none = { protocol: "", isEvents: false };
  assertEquals(agree({ dialect: PACKED }, { dialect: plainPacked }), {
    token: "plain",
    server: none,
    client: none,
  });
  assertEquals(agree({ dialect: plainPacked }, { dialect: plainPacked }), {
    token: "",
    server: none,
    client: none,
  });
  // One of its own that both speak is no reason to misunderstand each other.
  const chat = { own: ["chat"] };
  for (const support of [OURS, PLAIN, { isPlain: true, codecName: "cbor" }]) {
    assertMatch(
      String(
        agree({ ...chat, dialect: PACKED }, { ...chat, dialect: support }),
      ),
      /does not speak .*events\.v1\.msgpack/,
    );
  }
});

Deno.test("selectRefusal() selects what the client has offered for it", () => {
  const offered = offerSubprotocols([], OURS, "resume.1");
  assertStrictEquals(selectRefusal(offered), "events.v1-refusal");
  assertStrictEquals(selectRefusal(["chat"]), "");
  assertEquals(parseSelected("events.v1-refusal", OURS), {
    protocol: "",
    isEvents: false,
    isRefusal: true,
  });
  assertEquals(parseSelected("events.v1-refusal", PLAIN), {
    protocol: "events.v1-refusal",
    isEvents: false,
  });
});

Deno.test("negotiate() selects events.v1 without parts for older peers", () => {
  const offered = offerSubprotocols(["x", "chat"], OURS, "resume.1");
  assertEquals(offered, [
    ...["x", "chat"],
    ...["events.v1-parts+x", "events.v1+x"],
    ...["events.v1-parts+chat", "events.v1+chat"],
    ...["events.v1-parts", "events.v1"],
    ...["events.v1-refusal", "resume.1"],
  ]);
  assertEquals(offerSubprotocols([], OURS, "resume.1"), [
    ...["plain", "events.v1-parts", "events.v1"],
    ...["events.v1-refusal", "resume.1"],
  ]);
  const without = { protocol: "", isEvents: true };
  assertEquals(parseSelected("events.v1", OURS), without);
  assertEquals(negotiate(["plain", "events.v1"], [], OURS), {
    ...without,
    subprotocol: "events.v1",
    resume: undefined,
  });
  const chat = { protocol: "chat", isEvents: true };
  assertEquals(negotiate(["events.v1+chat"], ["chat"], OURS), {
    ...chat,
    subprotocol: "events.v1+chat",
    resume: undefined,
  });
  for (
    const one of ["events.v1-part", "events.v1-parts.x", "events.v1-partsx"]
  ) {
    assertEquals(parseSelected(one, OURS), { protocol: one, isEvents: false });
  }
});
