/** What a page of a test needs, as globals: the cases, and a client to play with. */

import { ClientSocket } from "../../../client.ts";
import { tryAll } from "./cases.ts";

Object.assign(globalThis, { isBrowser: true, ClientSocket, tryAll });
