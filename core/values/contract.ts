/**
 * Makes what a server and a client need of the schemas of a contract.
 *
 * @module
 */

import { assertKnown, assertType, isThenable } from "../events/errors.ts";
import type {
  CheckedContract,
  Contract,
  ContractDefinition,
  ContractSide,
  RequestSchemas,
  SideSchemas,
} from "./contract_types.ts";
import { type SchemaResult, type StandardSchema, toSchema } from "./schema.ts";
import { typeOf } from "./type_of.ts";

type Schemas = Map<string, StandardSchema>;

/** The schemas of what one side sends. */
interface SortedSchemas {
  readonly messages: Schemas;
  readonly requests: Schemas;
  readonly replies: Schemas;
}

const NAMES: readonly (keyof ContractDefinition)[] = [
  "client",
  "server",
  "presence",
  "codec",
];

/**
 * Creates a contract from schemas, for the option `contract` of both sockets. Each side
 * validates what it receives: messages, requests, and the replies to its requests.
 *
 * A property of `client` or `server` is a message that this side sends, named by the `type`
 * of its data: the schema of its other properties. If it has the form `{ data, reply }`, it
 * is a request. Schemas of all libraries that implement Standard Schema will do; they must
 * be synchronous.
 *
 * @typeParam Definition The schemas that the contract was created from.
 * @param definition The schemas of what clients and servers send.
 * @returns The contract.
 * @throws {TypeError} If something is not a schema, or a name is unknown.
 *
 * @example
 * ```ts
 * import { ClientSocket, ServerSocket } from "jsr:@ws/events";
 * import { contract } from "jsr:@ws/events/contract";
 * import { z } from "npm:zod@4.6.7";
 *
 * const chat = contract({
 *   client: {
 *     say: z.object({ text: z.string() }),
 *     sum: { data: z.object({ numbers: z.array(z.number()) }), reply: z.number() },
 *   },
 *   server: { said: z.object({ text: z.string() }) },
 * });
 *
 * await using server = new ServerSocket({ contract: chat });
 * server.on("message:say", ({ data }) => {
 *   server.broadcast({ type: "said", text: data.text });
 * });
 * server.handle({
 *   sum: ({ data }) => data.numbers.reduce((a, b) => a + b, 0),
 * });
 *
 * const client = new ClientSocket({ contract: chat });
 * client.on("message:said", ({ data }) => console.log(data.text.toUpperCase()));
 * ```
 */
export function contract<
  const Definition extends ContractDefinition & CheckedContract<Definition>,
>(definition: Definition): Contract<Definition> {
  assertType("definition", definition, "object");
  assertKnown("contract()", definition, NAMES);
  const { client = {}, server = {}, codec = "" }: ContractDefinition =
    definition;
  assertType("codec", codec, "string");
  const ofClient = schemasOf("client", client);
  const ofServer = schemasOf("server", server);
  return {
    server: sideOf(ofClient, ofServer.replies, codec),
    client: sideOf(ofServer, ofClient.replies, codec),
    definition,
  };
}

function sideOf<Types>(
  { messages, requests }: SortedSchemas,
  replies: Schemas,
  codecName: string,
): ContractSide<Types> {
  return {
    messages: schemaByType("messages", messages),
    requests: schemaByType("requests", requests),
    replies,
    codecName,
  };
}

/** Sorts what one side sends into messages and requests. */
function schemasOf(side: string, entries: SideSchemas): SortedSchemas {
  assertType(side, entries, "object");
  const all: SortedSchemas = {
    messages: new Map(),
    requests: new Map(),
    replies: new Map(),
  };
  for (const [type, entry] of Object.entries(entries)) {
    if (isRequest(entry)) {
      all.requests.set(type, toSchema(entry.data));
      all.replies.set(type, toSchema(entry.reply));
    } else all.messages.set(type, toSchema(entry));
  }
  return all;
}

function isRequest(entry: unknown): entry is RequestSchemas {
  return typeof entry === "object" && entry !== null &&
    !("~standard" in entry) && "data" in entry && "reply" in entry;
}

/** A schema that validates data by the schema for its `type`. */
function schemaByType(what: string, schemas: Schemas): StandardSchema {
  const validate = (value: unknown) => {
    const type = typeOf(value);
    const schema = type === undefined ? undefined : schemas.get(type);
    if (schema === undefined || typeof value !== "object") {
      const message = type === undefined
        ? `Expected an object with a type, as all ${what}`
        : `"${type}" is none of the types of ${what} in the contract`;
      return { issues: [{ message, path: ["type"] }] };
    }
    const { type: _, ...fields } = { type, ...value };
    const result = schema["~standard"].validate(fields);
    return isThenable(result) ? result : withType(result, type);
  };
  return { "~standard": { version: 1, vendor: "@ws/events", validate } };
}

/** Adds the type again, which the schemas do not know. */
function withType(
  result: SchemaResult<unknown>,
  type: string | undefined,
): SchemaResult<unknown> {
  if (result.issues || typeof result.value !== "object") return result;
  return { value: { type, ...result.value } };
}
