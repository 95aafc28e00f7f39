/** What a page of a test needs, as globals: the cases, and a client to play with. */

import "./older_browser.ts";
import { ClientSocket } from "../../../client.ts";
import { runCases } from "./cases.ts";

Object.assign(globalThis, {
  isBrowser: true,
  ClientSocket,
  runCases: runCases,
});
