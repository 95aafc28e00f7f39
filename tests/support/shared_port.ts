/** Two servers on one port, which the runtime allows with --unstable-net only. */

import { ServerSocket } from "../../server.ts";

await using one = new ServerSocket();
await using other = new ServerSocket();
await one.listen("127.0.0.1", 0, { reusePort: true });
await other.listen("127.0.0.1", one.port, { reusePort: true });
console.log(one.port === other.port ? "shared" : "not shared");
