/** The adapter for Redis, tried with real servers: see `redis_cases.ts`. */

import { BROKER_PERMISSIONS, lacksPermission } from "../support/permissions.ts";
import { lacksProgram } from "../support/programs.ts";

const ignore = await lacksPermission(...BROKER_PERMISSIONS) ||
  await lacksProgram("redis-server", "openssl");

// Even to load the clients takes permissions.
if (!ignore) await import("./redis_cases.ts");
Deno.test({
  name: "redis() has its cases in redis_cases.ts",
  ignore,
  fn: () => {},
});
