/**
 * Adds the options `schema`, of `ClientSocket` and of `request`, and `contract` to
 * `@ws/events/client/lean`.
 *
 * ```ts
 * import "jsr:@ws/events/client/schema";
 * import { ClientSocket } from "jsr:@ws/events/client";
 * import { z } from "npm:zod@4.6.7";
 *
 * const client = new ClientSocket({ schema: z.object({ text: z.string() }) });
 * client.on("message", ({ data }) => console.log(data.text));
 * ```
 *
 * @module
 */

import "./processor.ts";
import { schemaFeature } from "../connection/invalid_messages.ts";
import { readMessage } from "../connection/message_validation.ts";
import { assertContract } from "../values/contract_check.ts";
import { toSchema, validate } from "../values/schema.ts";

schemaFeature.provide({
  toSchema,
  validate,
  assertContract,
  read: readMessage,
});
