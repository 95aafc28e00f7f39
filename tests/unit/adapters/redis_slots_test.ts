/** The slots of keys, as the specification of Redis Cluster has them. */

import { assertEquals } from "@std/assert";
import { hashSlot } from "../../../adapters/redis/slots.ts";

Deno.test("hashSlot() is the CRC-16 of a key, or of its hash tag", () => {
  // `CLUSTER KEYSLOT` of Redis 7.0 prints these.
  const slots = {
    "123456789": 12_739,
    "": 0,
    "foo": 12_182,
    "{foo}bar": 12_182,
    "a{foo}b{c}": 12_182,
    "{}foo": 9_500,
    "foo{{bar}}zap": 4_015,
    "ä": 13_929,
  };
  for (const [key, slot] of Object.entries(slots)) {
    assertEquals(hashSlot(key), slot, key);
  }
});
