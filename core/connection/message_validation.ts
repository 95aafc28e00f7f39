/**
 * Reads messages that a schema validates.
 *
 * @module
 */

import type { Payload } from "../protocol/frames.ts";
import { type Codec, decodeWith } from "../values/codec.ts";
import {
  SchemaError,
  type StandardSchema,
  validate,
} from "../values/schema.ts";
import {
  internalError,
  type InvalidMessage,
  undecodable,
  type ValidMessage,
} from "./invalid_messages.ts";

/** Decodes and validates a message. */
export function readMessage<Data>(
  payload: Payload,
  codec: Codec | undefined,
  schema: StandardSchema<Data>,
): ValidMessage<Data> | InvalidMessage {
  let decoded: unknown;
  try {
    decoded = decodeWith(payload, codec);
  } catch (error) {
    return undecodable(error);
  }
  try {
    return { data: validate(schema, decoded, "A message") };
  } catch (error) {
    if (!(error instanceof SchemaError)) return internalError(error);
    const failure = { message: error.message, code: "invalid" };
    return { error, failure, isFaultOfPeer: true };
  }
}
