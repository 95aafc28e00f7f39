/**
 * The codes by which a server refuses a request that may be sent again.
 *
 * @module
 */

/** The server has not handled the request, but may do so later. */
export const RETRY_LATER = "retry-later";

/** It is not known whether the request was handled. */
export const UNCERTAIN = "uncertain";

/** The server remembers no requests. */
export const UNSUPPORTED = "unsupported";
