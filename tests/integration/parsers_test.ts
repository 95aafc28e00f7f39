/**
 * The time of every parser of text that a peer can write grows no faster than the text.
 */

import "../../core/features/full.ts";
import { assert, assertEquals } from "@std/assert";
import { Admission } from "../../core/admission/admission.ts";
import * as allowList from "../../core/admission/allow_list.ts";
import * as authorization from "../../core/admission/authorization.ts";
import * as origins from "../../core/admission/origins.ts";
import * as paths from "../../core/admission/paths.ts";
import {
  checkHandshake,
  isUpgradeRequest,
  listElements,
  TOKEN_PATTERN,
} from "../../core/admission/handshake.ts";
import * as admission from "../../core/admission/admission.ts";
import * as handshake from "../../core/admission/handshake.ts";
import * as addresses from "../../core/admission/remote_address.ts";
import * as serverMessages from "../../core/cluster/server_messages.ts";
import * as envelope from "../../core/history/envelope.ts";
import { ChannelPattern } from "../../core/channels/channel_pattern.ts";
import * as channelFrames from "../../core/protocol/channel_frames.ts";
import * as retryFrames from "../../core/protocol/retry_frames.ts";
import * as decoder from "../../core/protocol/frame_decoder.ts";
import * as frames from "../../core/protocol/frames.ts";
import * as parts from "../../core/protocol/parts.ts";
import * as hints from "../../core/protocol/retry_after.ts";
import * as subprotocol from "../../core/protocol/subprotocol.ts";
import * as codec from "../../core/values/codec.ts";
import * as safeUrl from "../../core/util/safe_url.ts";
import * as print from "../../core/util/printable.ts";

const { remoteAddressOf, formatHost, networkOf } = addresses;
const encoder = new TextEncoder();

/** A text that is longer than the small one by this factor takes little more than that. */
const FACTOR = 4;
const SMALL_CHARS = 32 * 1024;

/** What takes less than that is fast enough, in milliseconds: noise is more. */
const FAST_MS = 150;

/** Texts of a length, each of which some pattern may walk over and over. */
const SHAPES: Record<string, (length: number) => string> = {
  ...Object.fromEntries(
    [..." \t,:;.-/\\\"'%=01aA[](){}&?#@\u00e9\u0001\u001e", "\ud83d\udc4b"].map(
      (char) => [char, (length: number) => char.repeat(length / char.length)],
    ),
  ),
  "space within": (length) => `a${" ".repeat(length)}a`,
  "tabs and spaces": (length) => `x${"\t ".repeat(length / 2)}x`,
  "elements": (length) => " a ,".repeat(length / 4),
  "spaced elements": (length) => `,${" ".repeat(63)}`.repeat(length / 64),
  "dots": (length) => "/..".repeat(length / 3),
  "encoded dots": (length) => "/%2e%2e".repeat(length / 7),
  "zeros": (length) => `::${"0:".repeat(length / 2)}`,
  "ports": (length) => "]:1".repeat(length / 3),
  "hints": (length) => "; retry-after=1".repeat(length / 15),
  "resume": (length) => `resume.${"a.".repeat(length / 2)}`,
  "subprotocols": (length) => "events.v1.a,".repeat(length / 12),
  "sockets": (length) => "websocket,upgrade,".repeat(length / 18),
  "JSON": (length) => `{"version":1,"from":[${"[],".repeat(length / 3)}`,
  "batchFrame": (length) => `\u0001b${"\u001e".repeat(length)}`,
  "nested batch": (length) => `\u0001b${"\u0001b\u001e".repeat(length / 3)}`,
};

/** The characters that a header may have. */
function headerOf(text: string): string {
  return text.replace(/[^\t\x20-\x7e\x80-\xff]/g, "~");
}

const VALID = {
  host: "localhost",
  upgradeRequest: "websocket",
  connection: "Upgrade",
  "sec-websocket-version": "13",
  "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
};

function withHeader(name: string, text: string): Request {
  const headers = new Headers({ origin: "http://localhost", ...VALID });
  headers.set(name, headerOf(text));
  return new Request("http://localhost/", { headers });
}

const HEADERS = [
  ...Object.keys(VALID),
  "origin",
  "cookie",
  "authorization",
  "sec-websocket-protocol",
  "sec-websocket-extensions",
  "x-forwarded-for",
];

const admit = new Admission(
  {
    trustProxy: 2,
    maxConnectionsPerAddress: 1e9,
    protocols: ["chat", "superchat"],
    origins: ["http://localhost", /http:\/\/[a-z]+\.localhost/],
    paths: ["/"],
  },
  { isPlain: false, codecName: "", hasHistory: true },
  () => {},
);
const admitWithCodec = new Admission(
  { protocols: Array.from({ length: 20 }, (_, i) => `chat${i}`) },
  { isPlain: false, codecName: "msgpack" },
  () => {},
);

/** What reads text of a peer. The names are those of the functions, and what they read. */
const PARSERS: Record<string, (text: string) => unknown> = {
  ...Object.fromEntries(
    HEADERS.map((name) => [
      `Admission ${name}`,
      (text: string) => admit.admit(withHeader(name, text)),
    ]),
  ),
  "Admission path": (text) => {
    const request = withHeader("x", "");
    const path = headerOf(text).replace(/[ ?#]/g, "~");
    Object.defineProperty(request, "url", {
      value: `http://localhost/${path}`,
    });
    return admit.admit(request);
  },
  "Admission subprotocols of a codec": (text) =>
    admitWithCodec.admit(withHeader("sec-websocket-protocol", text)),
  isUpgradeRequest: (text) =>
    isUpgradeRequest(withHeader("upgradeRequest", text)),
  checkHandshake: (text) => checkHandshake(withHeader("connection", text)),
  listElements,
  TOKEN: (text) => TOKEN_PATTERN.test(text),
  sameOrigin: (text) =>
    origins.sameOrigin(headerOf(text), withHeader("host", text)),
  sameSiteIfCredentials: (text) => {
    const request = withHeader("host", text);
    request.headers.set("cookie", "a");
    return origins.sameSiteIfCredentials(headerOf(text), request);
  },
  urlOf: (text) => paths.urlOf(withHeader("host", text)),
  hasDotSegments: (text) => paths.hasDotSegments(text),
  withUpperCaseHex: (text) => allowList.withUpperCaseHex(text),
  remoteAddressOf: (text) =>
    remoteAddressOf(new Headers({ "x-forwarded-for": headerOf(text) }), {}, 3),
  networkOf,
  formatHost,
  decodeFrame: (text) => decoder.decodeFrame(text),
  "readFrame bytes": (text) => decoder.decodeFrame(encoder.encode(text).buffer),
  parseObject: (text) => decoder.parseObject(text),
  parseFailure: (text) => decoder.parseFailure(text),
  parseRequestId: (text) => decoder.parseRequestId(text),
  parseNumber: (text) => decoder.parseNumber(text, 9),
  decodeChannelFrame: (text) => channelFrames.decodeChannelFrame(text),
  "decodeChannelFrame join": (text) =>
    channelFrames.decodeChannelFrame(`\u0001j1,${text}`),
  "decodeChannelFrame leave": (text) =>
    channelFrames.decodeChannelFrame(`\u0001l1,${text}`),
  decodeMembers: (text) => channelFrames.decodeMembers(text),
  decodeRetryFrame: (text) => retryFrames.decodeRetryFrame(`\u0001q${text}`),
  "decodeRetryFrame open": (text) =>
    retryFrames.decodeRetryFrame(`\u0001k1,${text}`),
  parseOpened: (text) => retryFrames.parseOpened(text),
  "ChannelPattern.match": (text) =>
    new ChannelPattern("a/:b/c").match(`a/${text}/c`),
  isMarked: (text) => frames.isMarked(text),
  isPart: (text) => frames.isPart(text),
  isRetryFrame: (text) => frames.isRetryFrame(text),
  PartJoiner: (text) => {
    const joiner = new parts.PartJoiner();
    for (let at = 0; at < text.length; at += 64) {
      joiner.add(`\u0001-${text.slice(at, at + 64)}`);
    }
    return joiner.take();
  },
  isCounted: (text) => frames.isCounted(text),
  escapeFrame: (text) => frames.escapeFrame(text),
  unescapeFrame: (text) => frames.unescapeFrame(text),
  parseRetryAfter: hints.parseRetryAfter,
  selectRefusal: (text) => subprotocol.selectRefusal(text.split(",")),
  parseSelected: (text) =>
    subprotocol.parseSelected(text, { isPlain: false, codecName: "" }),
  negotiate: (text) =>
    subprotocol.negotiate(text.split(","), ["a", "b"], {
      isPlain: false,
      codecName: "",
      hasHistory: true,
    }),
  decodeServerMessage: (text) => {
    try {
      return serverMessages.decodeServerMessage(encoder.encode(text));
    } catch {
      return undefined;
    }
  },
  decodeEnvelope: (text) => {
    try {
      return envelope.decodeEnvelope(encoder.encode(`${text}\n${text}`));
    } catch {
      return undefined;
    }
  },
  decodeText: codec.decodeText,
  decodeWith: (text) => codec.decodeWith(text, undefined),
  isLargerThan: (text) => codec.isLargerThan(text, 1_000),
  byteLengthOf: (text) => codec.byteLengthOf(text),
  memoryOf: (text) => codec.memoryOf(text),
  printable: (text) => print.printable(text, text.length),
  withoutSecrets: safeUrl.withoutSecrets,
};

/** Exported functions of the same modules that read nothing of a peer. */
const OTHERS = [
  "AsyncCodecError", // tells of a mistake of this side
  "checkOrigin", // timed as a part of Admission
  "kindOf", // reads one character
  // What this end writes:
  ...[
    "encodeEnvelope",
    "encodeEnvelopeStart",
    "malformedHeader",
    "payloadOf",
    "encodeServerMessage",
    "roomChannel",
    "encodeAddressed",
    "encodeTrace",
    "encodeKey",
    "takesKey",
    "encodeStored",
    "encodePosition",
    "encodeFailure",
    "encodePing",
  ],
  ...[
    "encodeJoin",
    "encodeInChannel",
    "encodeLeave",
    "encodeMembers",
    "encodeRecovered",
    "encodeOpened",
    "encodeOpening",
    "encodeRetried",
  ],
  ...[
    "encodeCredit",
    "encodeTextBatch",
    "encodeBinaryBatch",
    "splitIntoParts",
    "appendRetryAfter",
    "toSeconds",
  ],
  ...[
    "resumeSubprotocol",
    "offerSubprotocols",
    "encodeValue",
    "encodeWith",
    "toBytes",
    "sizeOf",
  ],
  // What the program says:
  ...[
    "assertNoPromise",
    "Admission",
    "assertOrigin",
    "assertPath",
    "assertPathPattern",
  ],
  ...["compileMatcher", "isResponseLike", "refusalFor", "refusalForHeaders"],
];

/** The shortest of a few runs, which noise has disturbed least; one if that is fast. */
function timeOf(action: () => unknown): number {
  let best = Infinity;
  for (let run = 0; run < 4 && best > FAST_MS; run++) {
    const start = performance.now();
    action();
    best = Math.min(best, performance.now() - start);
  }
  return best;
}

for (const [name, parse] of Object.entries(PARSERS)) {
  Deno.test(`${name} takes linear time`, () => {
    for (const [shape, make] of Object.entries(SHAPES)) {
      const [short, long] = [make(SMALL_CHARS), make(SMALL_CHARS * FACTOR)];
      const time = timeOf(() => parse(long));
      if (time < FAST_MS) continue;
      // A quadratic one takes sixteen times as long for four times the length.
      const ratio = time / timeOf(() => parse(short));
      assert(
        ratio < 2.5 * FACTOR,
        `${shape}: ${time} ms, ${ratio} times as much`,
      );
    }
  });
}

Deno.test("every parser of untrusted text is timed", () => {
  const known = new Set([...Object.keys(PARSERS), ...OTHERS]);
  const modules: Record<string, unknown>[] = [
    ...[admission, handshake, addresses, envelope, frames, hints],
    ...[allowList, authorization, origins, paths, decoder, parts],
    channelFrames,
    retryFrames,
    ...[subprotocol, codec, safeUrl, print, serverMessages],
  ];
  const missing = modules.flatMap((module) =>
    Object.entries(module)
      .filter(([name, value]) =>
        typeof value === "function" && !known.has(name)
      )
      .map(([name]) => name)
  );
  assertEquals(
    missing,
    [],
    "list them in PARSERS, or in OTHERS with the reason",
  );
});
