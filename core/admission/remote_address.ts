/**
 * The address of a peer, from the runtime or from trusted proxies; pure.
 *
 * @module
 */

import type { RequestInfo } from "../runtime/deno_server.ts";
import { listElements } from "./handshake.ts";

/** The address of a peer whose address is unknown, such as on a Unix socket. */
const UNKNOWN = "unknown";

/** Longer text is not parsed, as no address is that long. */
const MAX_ADDRESS_CHARS = 64;

/**
 * Returns the address of a peer, with its port if known; or `unknown`.
 *
 * @param info The remote address of the TCP connection.
 * @param trustedProxies The number of trusted proxies that append to `X-Forwarded-For`.
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
 * Returns the address that the outermost trusted proxy has seen. Each proxy appends one
 * entry, so only the last entries count. If one of them is empty or not an address, a
 * proxy is misconfigured, and the header is ignored.
 */
function forwardedAddress(
  header: string | null,
  proxies: number,
): string | undefined {
  const trusted = listElements(header).slice(-proxies).map(parseAddress);
  return trusted.includes(undefined) ? undefined : trusted[0];
}

/** Parses an IPv4 or IPv6 address with an optional port; undefined if it is invalid. */
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

/** Converts an IPv4-mapped IPv6 address to IPv4 (RFC 4291, section 2.5.5.2). */
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
 * Returns the network of an address: the IPv4 address, or 64 bits of the IPv6 address,
 * which is what one subscriber has.
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

/** Formats a host as in a URL, with brackets around an IPv6 address. */
export function formatHost(host: string): string {
  return host.includes(":") ? `[${host}]` : host;
}
