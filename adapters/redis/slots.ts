/**
 * The slots of a Redis Cluster.
 *
 * @module
 */

const slotEncoder = new TextEncoder();

/** The slot of a key: the CRC-16 (XMODEM) of its hash tag, if it has one, or of all. */
export function hashSlot(key: string): number {
  const [, tag] = /^[^{]*\{([^}]+)\}/.exec(key) ?? [];
  let crc = 0;
  for (const byte of slotEncoder.encode(tag ?? key)) {
    crc ^= byte << 8;
    for (let bit = 0; bit < 8; bit++) {
      crc = (crc << 1) ^ (crc & 0x8000 ? 0x1021 : 0);
    }
    crc &= 0xffff;
  }
  return crc % 16_384;
}
