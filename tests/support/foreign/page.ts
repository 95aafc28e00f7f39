/** The same for a page, as a global. */

import { tryServers } from "./cases.ts";

Object.assign(globalThis, { tryServers });
