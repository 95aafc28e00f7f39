/**
 * Decides what happens to a message that cannot be read: one that the codec cannot decode,
 * or that does not match the schema.
 *
 * @module
 */

import { CloseCode } from "../events/errors.ts";
import type { Payload, RequestFailure } from "../protocol/frames.ts";
import {
  type IncomingRequest,
  INTERNAL_FAILURE,
} from "../requests/incoming_request.ts";
import { Feature } from "../util/feature.ts";
import { AsyncCodecError, type Codec } from "../values/codec.ts";
import type { assertContract } from "../values/contract_check.ts";
import type { StandardSchema, toSchema, validate } from "../values/schema.ts";
import type { Closing } from "./closing.ts";

/** Why a message cannot be read. */
export interface InvalidMessage {
  /** The error, for this side. */
  readonly error: unknown;
  /** What the peer gets as the reply, if the message is a request. */
  readonly failure: RequestFailure;
  /** Whether the peer sent something invalid, and this side has not failed itself. */
  readonly isFaultOfPeer: boolean;
}

/** A message that was read. */
export interface ValidMessage<Data> {
  /** The output of the schema. */
  readonly data: Data;
}

/** Validates messages and replies; see `message_validation.ts`. */
export interface MessageValidation {
  /** Checks that a value is a schema. */
  readonly toSchema: typeof toSchema;
  /** Validates a value, such as a reply. */
  readonly validate: typeof validate;
  /** Checks the option `contract`. */
  readonly assertContract: typeof assertContract;
  /** Decodes and validates a message. */
  read<Data>(
    payload: Payload,
    codec: Codec | undefined,
    schema: StandardSchema<Data>,
  ): ValidMessage<Data> | InvalidMessage;
}

/** See {@linkcode MessageValidation}. */
export const schemaFeature: Feature<MessageValidation> = new Feature("schema");

/** A message that the codec cannot decode. */
export function undecodable(error: unknown): InvalidMessage {
  if (error instanceof AsyncCodecError) return internalError(error);
  const failure = { message: "The request could not be read", code: "invalid" };
  return { error, failure, isFaultOfPeer: true };
}

/** A message that cannot be read because of an error of this side, as in a schema. */
export function internalError(error: unknown): InvalidMessage {
  return { error, failure: INTERNAL_FAILURE, isFaultOfPeer: false };
}

/**
 * Refuses a request that cannot be read, and closes the connection if the peer is to
 * blame and the option `onInvalid` asks for it.
 */
export function rejectInvalid(
  { closing, options }: {
    readonly closing: Closing;
    readonly options: { readonly isStrict: boolean };
  },
  { failure, isFaultOfPeer }: InvalidMessage,
  request: IncomingRequest | undefined,
): void {
  request?.refuse(failure);
  if (!isFaultOfPeer || !options.isStrict) return;
  const reason = "A message does not match the schema";
  closing.closeForViolation(CloseCode.PolicyViolation, reason, "protocol");
}
