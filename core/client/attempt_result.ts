/**
 * What the owner of a connection reports to the attempt that opens it.
 *
 * @module
 */

import type { ConnectionOwner } from "../connection/connection.ts";
import type { ConnectionEnd } from "../events/errors.ts";
import type { SocketTypes } from "../values/types.ts";

/** What the owner of a connection reports to the attempt. */
export interface AttemptResult {
  /** The connection is open: nothing cancels the attempt any more. */
  opened(): void;
  /** The listeners of `connect` have been called. */
  resolve(): void;
  /** The connection could not be opened. */
  refused(url: string, cause: unknown, end: ConnectionEnd): void;
}

/** Creates the owner of a connection. */
export type CreateOwner<Types extends SocketTypes> = (
  result: AttemptResult,
) => ConnectionOwner<Types>;
