/**
 * What the owner of a connection reports to the attempt that opens it.
 *
 * @module
 */

import type { MessageAuthor } from "../../message.ts";
import type { Owner } from "../connection/owner.ts";
import type { ConnectionEnd } from "../events/errors.ts";
import type { Outgoing, SocketTypes } from "../values/types.ts";

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
export type CreateOwner<
  Types extends SocketTypes,
  C extends MessageAuthor<Outgoing<Types>>,
> = (result: AttemptResult) => Owner<Types, C>;
