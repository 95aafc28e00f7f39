/**
 * The part of an adapter that remembers requests for all servers.
 *
 * @module
 */

/** A record that an {@linkcode AdapterRecords} has stored. */
export interface AdapterRecord {
  /** Its content. */
  readonly value: Uint8Array;
  /** Names this content: each write gives the record another version. */
  readonly version: string;
}

/**
 * Stores small records for all servers, each of which is replaced as a whole. With this part
 * of an `Adapter`, a request with the option `retry` is handled once, whichever server the
 * client reconnects to. A record may be lost: then requests are refused as `uncertain`. An
 * earlier version must never come back, as a request could then be handled twice.
 */
export interface AdapterRecords {
  /**
   * Reads a record.
   *
   * @param key The key: letters and digits.
   * @returns A promise of the record; undefined if there is none. If the broker cannot store
   * records at all, the promise rejects with an error whose `cause` is `"unsupported"`, and
   * the server remembers requests in its own memory.
   */
  read(key: string): Promise<AdapterRecord | undefined>;
  /**
   * Replaces a record, unless another server has changed it.
   *
   * @param key The key.
   * @param value The new content, at most 768 KiB.
   * @param version The version that the record must have; undefined if there must be none.
   * @param maxAge For how long to store the record after this, in milliseconds.
   * @returns A promise of the new version; undefined if the record has another version, and
   * was not changed. If the promise rejects, the record may or may not have been replaced.
   */
  write(
    key: string,
    value: Uint8Array<ArrayBuffer>,
    version: string | undefined,
    maxAge: number,
  ): Promise<string | undefined>;
}
