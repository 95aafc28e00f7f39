/** Requests with the option `retry`, tried with real brokers: see `retries_cases.ts`. */

import { BROKER_PERMISSIONS, lacksPermission } from "../support/permissions.ts";
import { lacksProgram } from "../support/programs.ts";

const ignore = await lacksPermission(...BROKER_PERMISSIONS) ||
  await lacksProgram("redis-server", "nats-server");

// Even to load the clients takes permissions.
if (!ignore) await import("./retries_cases.ts");
Deno.test({
  name: "requests with retry have their cases in retries_cases.ts",
  ignore,
  fn: () => {},
});
