/**
 * Provides what a client needs in Deno, Node and Bun, but not in a page: headers and
 * options of the runtime, the reasons of failed handshakes, cutting a connection, and
 * limits on what it logs.
 *
 * @module
 */

import { ErrorLog } from "../events/error_log.ts";
import { errorOutputFeature } from "../events/error_output.ts";
import {
  destroyTcp,
  explainFailure,
  reportConnect,
} from "../runtime/connect_failure.ts";
import { diagnosisFeature } from "../runtime/connect_report.ts";
import { closeResource, DENO_ERROR_CAUSES } from "../runtime/deno_internals.ts";
import { openWithOptions } from "../runtime/socket_options.ts";
import { errorCausesFeature, runtimeFeature } from "../runtime/websocket.ts";

runtimeFeature.provide({
  open: openWithOptions,
  destroy: (socket) => destroyTcp(socket) || closeResource(socket),
});
diagnosisFeature.provide({ report: reportConnect, explain: explainFailure });
errorOutputFeature.provide(() => new ErrorLog());
errorCausesFeature.provide(DENO_ERROR_CAUSES);
