/**
 * The types that follow from a contract, for both sides.
 *
 * @module
 */

import type { JsonData } from "./json_types.ts";
import type { StandardSchema } from "./schema.ts";

/**
 * The schemas of a contract, by the side that sends the data and by its `type`. The
 * schemas do not include `type` itself.
 */
export interface ContractDefinition {
  /** The schemas of the messages and requests that clients send. */
  readonly client?: SideSchemas;
  /** The schemas of the messages and requests that the server sends. */
  readonly server?: SideSchemas;
  /**
   * The schema of the public data of a member of a room, which the option `presence`
   * returns.
   */
  readonly presence?: StandardSchema;
  /**
   * The name of the codec of both sides, if it is not JSON. The contract may then have
   * values that JSON cannot represent.
   */
  readonly codec?: string;
}

/**
 * The schemas of the messages and requests that one side sends, by the `type` of the data.
 */
export interface SideSchemas {
  /** The schema of a message, or the schemas of a request. */
  readonly [type: string]: StandardSchema | RequestSchemas;
}

/** The schemas of a request and of its reply. */
export interface RequestSchemas {
  /** The schema of the data, without its `type`. */
  readonly data: StandardSchema;
  /** The schema of the reply. */
  readonly reply: StandardSchema;
}

/**
 * The part of a contract that one side uses at run time.
 *
 * @typeParam Types The types of the socket.
 */
export interface ContractSide<Types> {
  /** Validates received messages. */
  readonly messages: StandardSchema;
  /** Validates received requests. */
  readonly requests: StandardSchema;
  /** Validates replies, by the `type` of the request. */
  readonly replies: ReadonlyMap<string, StandardSchema>;
  /** The name of the codec; empty for JSON. */
  readonly codecName: string;
  /** The types of the socket. Undefined at run time. */
  readonly types?: ((types: Types) => void) | undefined;
}

/**
 * A contract of schemas, which {@linkcode contract} returns.
 *
 * @typeParam Definition The schemas that the contract was created from.
 */
export interface Contract<Definition extends CheckedContract<Definition>> {
  /** The part of the contract that a server uses. */
  readonly server: ContractSide<ServerTypes<Definition>>;
  /** The part of the contract that a client uses. */
  readonly client: ContractSide<ClientTypes<Definition>>;
  /** The schemas that the contract was created from. */
  readonly definition: Definition;
}

/**
 * The types of a server that follows a contract. To add a type for `context`, write
 * `ServerTypes<Chat> & { context: User }`.
 *
 * @typeParam C The contract: an interface, or `typeof` what {@linkcode contract} returned.
 */
export interface ServerTypes<C extends CheckedContract<C>> {
  /** The messages of clients. */
  incoming: MessagesOf<ContractPart<C, "client">, "output">[
    keyof MessagesOf<ContractPart<C, "client">, "output">
  ];
  /** The messages of the server. */
  outgoing: MessagesOf<ContractPart<C, "server">, "input">[
    keyof MessagesOf<ContractPart<C, "server">, "input">
  ];
  /** The requests of the server. */
  requests: RequestsOf<ContractPart<C, "server">, "input">;
  /** The requests of clients. */
  handlers: RequestsOf<ContractPart<C, "client">, "output">;
  /** The type of the public data of a member. */
  presence: ValuesOf<ContractPart<C, "presence">, "output">;
}

/**
 * The types of a client that follows a contract.
 *
 * @typeParam C The contract: an interface, or `typeof` what {@linkcode contract} returned.
 */
export interface ClientTypes<C extends CheckedContract<C>> {
  /** The messages of the server. */
  incoming: MessagesOf<ContractPart<C, "server">, "output">[
    keyof MessagesOf<ContractPart<C, "server">, "output">
  ];
  /** The messages of clients. */
  outgoing: MessagesOf<ContractPart<C, "client">, "input">[
    keyof MessagesOf<ContractPart<C, "client">, "input">
  ];
  /** The requests of clients. */
  requests: RequestsOf<ContractPart<C, "client">, "input">;
  /** The requests of the server. */
  handlers: RequestsOf<ContractPart<C, "server">, "output">;
  /** The type of the public data of a member. */
  presence: ValuesOf<ContractPart<C, "presence">, "output">;
}

/** The type of one property of a contract; `unknown` if it is not defined. */
export type ContractPart<C, Name extends keyof ContractDefinition> = C extends
  { readonly definition: { readonly [_ in Name]: infer Part } } ? Part
  : C extends { readonly [_ in Name]: infer Part } ? Part
  : unknown;

/**
 * The values before (`input`) or after (`output`) a schema has transformed them. A type is
 * both.
 */
export type ValuesOf<Entry, View extends "input" | "output"> = Entry extends
  StandardSchema<infer Output, infer Input>
  ? View extends "input" ? Input : Output
  : Entry;

/**
 * The types of the messages that one side sends, without its requests, by the `type` of
 * the data.
 */
export type MessagesOf<Side, View extends "input" | "output"> = {
  [
    Type in keyof Side as Side[Type] extends StandardSchema ? Type
      : Side[Type] extends RequestSchemas | ((data: never) => unknown) ? never
      : Type
  ]: WithType<Type, ValuesOf<Side[Type], View>>;
};

/**
 * The requests of a side, by type, as functions from the data to the reply: as their sender
 * sees them (`input`), or their handler (`output`).
 */
export type RequestsOf<Side, View extends "input" | "output"> = {
  [
    Type in keyof Side as Side[Type] extends StandardSchema ? never
      : Side[Type] extends RequestSchemas | ((data: never) => unknown) ? Type
      : never
  ]: Side[Type] extends RequestSchemas ? (
      data: WithType<Type, ValuesOf<Side[Type]["data"], View>>,
    ) => ValuesOf<
      Side[Type]["reply"],
      View extends "input" ? "output" : "input"
    >
    : Side[Type] extends (data: infer Data) => infer Reply ? (
        data: WithType<Type, Data>,
      ) => View extends "input" ? Reply extends undefined | void ? null : Reply
        : Reply
    : never;
};

/** Data with its `type`. An object of its own reads better than an intersection. */
export type WithType<Type, Data> = unknown extends Data ? { type: Type }
  : [Data] extends [Record<string, never>] ? { type: Type }
  : Data extends unknown ? {
      [Name in keyof ({ type: Type } & Data)]: ({ type: Type } & Data)[Name];
    }
  : never;

/**
 * Makes other names, and values that JSON would change, compile-time errors. The types
 * that it requires are the error messages.
 *
 * @typeParam C The contract.
 */
export type CheckedContract<C> = "definition" extends keyof C ? unknown
  : {
    readonly [Name in keyof C]: Name extends "client" | "server"
      ? { readonly [Type in keyof C[Name]]: CheckedEntry<C[Name][Type], C> }
      : Name extends "presence" ? CheckedValue<ValuesOf<C[Name], "input">, C>
      : Name extends "codec" ? string
      : "no such name: the names are client, server, presence and codec";
  };

/** The types that a contract allows for a message or a request. */
export type CheckedEntry<Entry, C> = Entry extends
  StandardSchema<infer Output, infer Input> ? StandardSchema<
    CheckedData<Output, { codec: "any" }>,
    CheckedData<Input, C>
  >
  : Entry extends {
    readonly data: StandardSchema<infer Output, infer Input>;
    readonly reply: StandardSchema<infer ReplyOutput, infer ReplyInput>;
  } ? {
      readonly data: StandardSchema<
        CheckedData<Output, { codec: "any" }>,
        CheckedData<Input, C>
      >;
      readonly reply: StandardSchema<ReplyOutput, CheckedValue<ReplyInput, C>>;
    }
  : Entry extends { readonly data: StandardSchema } ? RequestSchemas
  : Entry extends (data: infer Data) => infer Reply
    ? [Data] extends [CheckedData<Data, C>]
      ? (data: never) => CheckedValue<Reply, C>
    : CheckedData<Data, C>
  : CheckedData<Entry, C>;

/** The types that a contract allows for the data of a message or a request. */
export type CheckedData<Data, C> = unknown extends Data ? Data
  : Data extends object ? CheckedValue<Data, C>
  : "data is an object, as its type is a property beside others";

/** The types that a contract allows for a reply: with a codec, any value. */
export type CheckedValue<Value, C> = C extends { readonly codec: string }
  ? Value
  : JsonData<Value>;
