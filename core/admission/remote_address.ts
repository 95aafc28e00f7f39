/**
 * The address of a peer: as the runtime tells it, or as trusted proxies do; pure.
 *
 * @module
 */

import type { RequestInfo } from "../runtime/deno_server.ts";
import { listElements } from "./handshake.ts";

/** The address of a peer that cannot be known, such as one of a Unix socket. */
const UNKNOWN = "unknown";

/** The longest address with a port is shorter; what is longer is not parsed. */
const MAX_ADDRESS_CHARS = 64;

/**
 * The address of a peer, ready to print.
 *
 * @param headers The headers of the request.
 * @param info What is known of the other end of the TCP connection.
 * @param trustedProxies The number of proxies that are trusted to tell the address.
 * @returns The address, with its port where that is known; or `unknown`.
 */
export function remoteAddressOf(
  headers: Headers,
  info: RequestInfo,
  trustedProxies: number,
): string {
  const { hostname, port } = info.remoteAddr ?? {};
  const direct = hostname === undefined || port === undefined
    ? UNKNOWN
    : `${formatHost(withoutMapping(hostname))}:${port}`;
  if (trustedProxies === 0) return direct;
  return forwardedAddress(headers.get("x-forwarded-for"), trustedProxies) ??
    direct;
}

/**
 * The address that the outermost trusted proxy has seen. Each proxy appends one entry, so
 * only the last entries count, and each of them has to be an address: an empty one, or
 * one that is not an address, shows that a proxy did not do its part, and then none is
 * believed.
 */
function forwardedAddress(
  header: string | null,
  proxies: number,
): string | undefined {
  const trusted = listElements(header).slice(-proxies).map(parseAddress);
  return trusted.includes(undefined) ? undefined : trusted[0];
}

/** An IPv4 or IPv6 address, with or without a port; undefined if it is not one. */
function parseAddress(text: string): string | undefined {
  if (text.length > MAX_ADDRESS_CHARS) return undefined;
  const [, inBrackets, v4, port] =
    /^(?:\[([0-9a-f:.]+)\]|([0-9.]+))(?::([0-9]{1,5}))?$/i.exec(text) ?? [];
  const host = inBrackets ?? v4 ?? text;
  const isAddress = inBrackets === undefined && v4 !== undefined
    ? isV4(v4)
    : isV6(host);
  if (!isAddress || Number(port ?? 0) > 65_535) return undefined;
  const address = withoutMapping(host);
  return port === undefined ? address : `${formatHost(address)}:${port}`;
}

function isV4(text: string): boolean {
  const parts = text.split(".");
  return parts.length === 4 &&
    parts.every((part) => /^[0-9]{1,3}$/.test(part) && Number(part) <= 255);
}

function isV6(text: string): boolean {
  return /^[0-9a-f:.]+$/i.test(text) && text.includes(":") &&
    URL.canParse(`http://[${text}]`);
}

/** An IPv4 address that is written as one of IPv6, as IPv4 writes it. */
function withoutMapping(host: string): string {
  if (!/^[0:]*:ffff:/i.test(host)) return host;
  const canonical = URL.parse(`http://[${host}]`)?.hostname ?? "";
  const [, high, low] =
    /^\[::ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})\]$/.exec(canonical) ?? [];
  if (high === undefined || low === undefined) return host;
  const bits = [parseInt(high, 16), parseInt(low, 16)];
  return bits.flatMap((word) => [word >> 8, word & 255]).join(".");
}

/**
 * The network that an address belongs to: one IPv4 address, or 64 bits of IPv6, which is
 * what one subscriber has.
 *
 * @param address An address of {@linkcode remoteAddressOf}.
 * @returns The network.
 */
export function networkOf(address: string): string {
  const [, inBrackets, name] =
    /^(?:\[([^\]]+)\]|([^:]+))(?::[0-9]+)?$/.exec(address) ?? [];
  const [zoneless = ""] = (inBrackets ?? name ?? address).split("%", 1);
  const host = withoutMapping(zoneless);
  const canonical = host.includes(":")
    ? URL.parse(`http://[${host}]`)?.hostname
    : undefined;
  if (canonical === undefined) return host;
  const [head = "", tail] = canonical.slice(1, -1).split("::");
  const groups = head === "" ? [] : head.split(":");
  if (tail !== undefined) {
    const end = tail === "" ? [] : tail.split(":");
    while (groups.length + end.length < 8) groups.push("0");
    groups.push(...end);
  }
  return `${groups.slice(0, 4).join(":")}::/64`;
}

/**
 * A host as it stands in a URL.
 *
 * @param host A name or an address.
 * @returns The same, with brackets around an IPv6 address.
 */
export function formatHost(host: string): string {
  return host.includes(":") ? `[${host}]` : host;
}
