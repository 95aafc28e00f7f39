/** The same as `ours.ts`, in a process that has loaded the API of OpenTelemetry. */

import "@opentelemetry/api";
import "./ours.ts";
