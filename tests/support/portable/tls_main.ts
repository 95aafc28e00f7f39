/**
 * Connects over TLS with a certificate that only an option of the runtime's `WebSocket`
 * makes valid. The last argument is the server's URL. Bundled, it runs in Node and in Bun.
 */

import process from "node:process";
import { Agent, WebSocket } from "undici";
import { ClientSocket, ConnectError } from "../../../client.ts";
import { CERTIFICATE } from "../certificate.ts";

const url = process.argv.at(-1) ?? "";
const webSocket = process.versions.bun ? { tls: { ca: CERTIFICATE } } : {
  WebSocket,
  dispatcher: new Agent({ connect: { ca: CERTIFICATE } }),
};
const client = new ClientSocket({ webSocket, headers: { "X-Test": "yes" } });
const greeting = client.waitFor("message");
await client.connect(`${url}/headers`);
console.log((await greeting)[0].content);
await client.close();
const error = await new ClientSocket().connect(url).catch((error) => error);
console.log(error instanceof ConnectError && error.kind);
console.log("done");
process.exit();
