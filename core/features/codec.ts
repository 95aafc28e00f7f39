/**
 * Adds the options `codec` and `strictJson` to `@ws/events/client`.
 *
 * ```ts ignore
 * import "jsr:@ws/events/client/codec";
 * import { ClientSocket } from "jsr:@ws/events/client";
 *
 * const client = new ClientSocket({
 *   codec: { name: "upper", encode: (value) => `${value}`.toUpperCase(), decode: String },
 * });
 * await client.connect("ws://localhost:3000");
 * ```
 *
 * @module
 */

import "./processor.ts";
import { codecFeature } from "../values/codec.ts";
import { assertCodec, encodeByCodec } from "../values/codec_encoding.ts";
import { STRICT_JSON } from "../values/strict_json.ts";

codecFeature.provide({
  strictJson: STRICT_JSON,
  assert: assertCodec,
  encode: encodeByCodec,
});
