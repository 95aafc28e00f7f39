/**
 * Encodes and decodes what servers tell each other, other than broadcasts and presence:
 * a line of JSON and perhaps a body. Documented in docs/broker-protocol.md.
 *
 * @module
 */

import { type BroadcastBody, malformedHeader } from "../history/envelope.ts";
import { readProperty } from "../util/read_property.ts";
import { concatBytes } from "../util/concat_bytes.ts";
import { toBytes } from "../values/codec.ts";
import type { ClusterAnswer, ClusterQuery } from "./cluster_host.ts";

/** A message between servers. */
export type ServerMessage =
  /** A heartbeat. A server that has just come up wants one from all others. */
  | {
    readonly type: "pulse";
    readonly isNew: boolean;
    /** The {@linkcode Presence.clock} of the sender, if it has presence. */
    readonly clock?: number;
    /** Whether the sender stores messages in the broker; undefined if it does not tell. */
    readonly usesLog?: boolean;
  }
  /** The sender leaves the cluster. */
  | { readonly type: "bye" }
  /** Messages of the sender are lost, and those that it sends from now on follow. */
  | { readonly type: "gap" }
  /** A query; undefined if a later version of this library asks what this one cannot. */
  | {
    readonly type: "ask";
    readonly id: number;
    readonly query: ClusterQuery | undefined;
  }
  /** A part of the answer to a query. */
  | {
    readonly type: "answer";
    readonly id: number;
    readonly answer: ClusterAnswer;
    /** Whether other parts follow. */
    readonly isPartial?: boolean;
    /** Whether the server does not know the query. */
    readonly isUnknown?: boolean;
  }
  /** The body is a message of the application. */
  | { readonly type: "app" };

/** A message that has arrived. */
export interface ReceivedServerMessage {
  /** The name of the server that has sent it. */
  readonly from: string;
  readonly message: ServerMessage;
  readonly body: BroadcastBody | undefined;
}

const serverEncoder = new TextEncoder();
const serverDecoder = new TextDecoder("utf-8", { ignoreBOM: true }); // a BOM belongs to the text

/** Encodes a message of the server with a name. */
export function encodeServerMessage(
  from: string,
  message: ServerMessage,
  body?: BroadcastBody,
): Uint8Array<ArrayBuffer> {
  const isBinary = body !== undefined && typeof body !== "string";
  const header = { version: 1, from, ...isBinary && { isBinary }, ...message };
  const line = JSON.stringify(header);
  if (body === undefined) return serverEncoder.encode(line);
  return typeof body === "string"
    ? serverEncoder.encode(`${line}\n${body}`)
    : concatBytes([serverEncoder.encode(`${line}\n`), toBytes(body)]);
}

/**
 * Decodes a message.
 *
 * @returns The message; undefined if a later version of this library has sent it.
 * @throws {SyntaxError} If its first line is not valid JSON.
 * @throws {TypeError} If a field is missing or has the wrong type.
 */
export function decodeServerMessage(
  bytes: Uint8Array,
): ReceivedServerMessage | undefined {
  const end = bytes.indexOf(10);
  const line = end < 0 ? bytes : bytes.subarray(0, end);
  const header: unknown = JSON.parse(serverDecoder.decode(line));
  const version = readProperty(header, "version");
  if (typeof version === "number" && version > 1) return undefined;
  const from = readProperty(header, "from");
  const type = readProperty(header, "type");
  if (version !== 1 || typeof from !== "string" || typeof type !== "string") {
    throw malformedHeader(header);
  }
  const message = toMessage(type, header);
  if (message === undefined) return undefined;
  const body = end < 0 ? undefined : bytes.subarray(end + 1);
  return {
    from,
    message,
    body: body && readProperty(header, "isBinary") === true
      ? body.slice()
      : body && serverDecoder.decode(body),
  };
}

/** Reads the fields of a type; undefined for a type that is unknown. */
function toMessage(type: string, header: unknown): ServerMessage | undefined {
  const id = readProperty(header, "id");
  switch (type) {
    case "pulse": {
      const clock = readProperty(header, "clock");
      const usesLog = readProperty(header, "usesLog");
      return {
        type,
        isNew: readProperty(header, "isNew") === true,
        ...Number.isSafeInteger(clock) && { clock: Number(clock) },
        ...typeof usesLog === "boolean" && { usesLog },
      };
    }
    case "bye":
    case "gap":
    case "app":
      return { type };
    case "ask":
      if (typeof id !== "number") break;
      return { type, id, query: toQuery(readProperty(header, "query")) };
    case "answer": {
      const answer = readProperty(header, "answer");
      if (typeof id !== "number" || !isAnswer(answer)) break;
      const isPartial = readProperty(header, "isPartial") === true;
      const isUnknown = readProperty(header, "isUnknown") === true;
      return { type, id, answer, isPartial, isUnknown };
    }
    default:
      return undefined;
  }
  throw malformedHeader(header);
}

/** The query if it is a known one; undefined otherwise. */
function toQuery(query: unknown): ClusterQuery | undefined {
  if (!isTyped(query)) throw malformedHeader(query);
  if (!Object.hasOwn(QUERY_FIELDS, query.type)) return undefined;
  if (isKnownQuery(query)) return query;
  throw malformedHeader(query);
}

function isTyped(query: unknown): query is { readonly type: string } {
  return typeof readProperty(query, "type") === "string";
}

/** What each field of a query has to be, by its type. */
const QUERY_FIELDS: {
  readonly [Type in ClusterQuery["type"]]: {
    readonly [
      Field in Exclude<
        keyof Extract<ClusterQuery, { readonly type: Type }>,
        "type"
      >
    ]-?: (value: unknown) => boolean;
  };
} = {
  count: { room: (value) => value === undefined || isString(value) },
  describe: {},
  who: {
    room: isString,
    versions: (value) => value === undefined || isObject(value),
  },
  close: { id: isString, code: isNumber, reason: isString },
  send: { id: isString, options: isObject },
  join: { target: isClusterTarget, rooms: isStrings },
  leave: { target: isClusterTarget, rooms: isStrings },
  end: { target: isClusterTarget, code: isNumber, reason: isString },
  request: { target: isClusterTarget, timeout: isNumber },
};

function isKnownQuery(
  query: { readonly type: string },
): query is ClusterQuery {
  const fields = Object.entries(QUERY_FIELDS).find(([type]) =>
    type === query.type
  );
  return fields !== undefined &&
    Object.entries(fields[1]).every(([name, isValid]) =>
      isValid(readProperty(query, name))
    );
}

function isString(value: unknown): boolean {
  return typeof value === "string";
}

function isNumber(value: unknown): boolean {
  return typeof value === "number";
}

function isObject(value: unknown): boolean {
  return typeof value === "object" && value !== null;
}

function isStrings(value: unknown): boolean {
  return Array.isArray(value) && value.every(isString);
}

function isClusterTarget(value: unknown): boolean {
  return ["rooms", "except", "exceptIds"].every((name) =>
    isStrings(readProperty(value, name))
  );
}

function isAnswer(answer: unknown): answer is ClusterAnswer {
  return typeof readProperty(answer, "number") === "number";
}
