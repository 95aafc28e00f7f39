/**
 * Where a request comes from; pure.
 *
 * @module
 */

import type { RequestInfo } from "../runtime/deno_server.ts";
import { tokens } from "./handshake.ts";

/**
 * The peer's address, ready to print.
 *
 * @param headers The request's headers.
 * @param info What is known of the other end of the TCP connection.
 * @param proxies How many proxies are trusted to tell who it is.
 * @returns `host:port`; what a proxy has told; or `unknown`.
 */
export function addressOf(
  headers: Headers,
  info: RequestInfo,
  proxies: number,
): string {
  const { hostname, port } = info.remoteAddr ?? {};
  const own = hostname === undefined || port === undefined
    ? "unknown"
    : `${bracketed(hostname)}:${port}`;
  if (proxies === 0) return own;
  const told = tokens(headers.get("x-forwarded-for")).filter((one) =>
    one !== ""
  );
  return told.at(-Math.min(proxies, told.length)) ?? own;
}

/**
 * The network that an address counts for: itself, or 64 bits of IPv6.
 *
 * @param address The address, with or without a port.
 * @returns The network.
 */
export function networkOf(address: string): string {
  const host = /^\[(.+)\](?::\d+)?$|^([^:]+):\d+$/.exec(address);
  const name = host?.[1] ?? host?.[2] ?? address;
  const v4 = /^(?:::ffff:)?(\d+\.\d+\.\d+\.\d+)$/i.exec(name)?.[1];
  if (v4 !== undefined || !name.includes(":")) return v4 ?? name;
  const [head = "", tail] = name.toLowerCase().split("::");
  const groups = head === "" ? [] : head.split(":");
  if (tail !== undefined) {
    const end = tail === "" ? [] : tail.split(":");
    while (groups.length + end.length < 8) groups.push("0");
    groups.push(...end);
  }
  const numbers = groups.slice(0, 4).map((group) =>
    group.replace(/^0+(?=.)/, "")
  );
  return `${numbers.join(":")}::/64`;
}

/**
 * A host as it stands in a URL.
 *
 * @param host A name or an address.
 * @returns The same, with brackets around an IPv6 address.
 */
export function bracketed(host: string): string {
  return host.includes(":") ? `[${host}]` : host;
}
