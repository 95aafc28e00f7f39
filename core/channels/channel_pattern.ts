/**
 * Matches the names of channels, such as `orders/42`, with patterns, such as `orders/:id`;
 * pure.
 *
 * @module
 */

import { printable } from "../util/printable.ts";

/**
 * The names of the parameters in a pattern.
 *
 * @typeParam Pattern The pattern.
 */
export type ParamNames<Pattern extends string> = Pattern extends
  `${infer First}/${infer Rest}` ? ParamNames<First> | ParamNames<Rest>
  : Pattern extends `:${infer Name}` ? Name
  : never;

/**
 * The parameters of a channel: `{ readonly id: string }` for `orders/:id`.
 *
 * @typeParam Pattern The pattern of the channel.
 */
export type ChannelParams<Pattern extends string> = string extends Pattern
  ? Readonly<Record<string, string>>
  : { readonly [Name in ParamNames<Pattern>]: string };

const PARAM = /^:([A-Za-z_]\w*)$/;

/** A pattern of names of channels. */
export class ChannelPattern {
  readonly #segments: readonly string[];
  /** The names that match have the same shape. */
  readonly shape: string;

  /**
   * Parses a pattern.
   *
   * @throws {TypeError} If it is not a string, is empty, or has an invalid parameter.
   */
  constructor(pattern: string) {
    if (typeof pattern !== "string" || pattern === "") {
      throw new TypeError(
        `Cannot use a pattern of channels unless it is a string that is not empty: current value is ${
          JSON.stringify(pattern)
        }`,
      );
    }
    this.#segments = pattern.split("/");
    const names = new Set<string>();
    for (const segment of this.#segments) {
      if (!segment.startsWith(":")) continue;
      const name = PARAM.exec(segment)?.[1];
      if (name === undefined || names.has(name)) {
        throw new TypeError(
          `Cannot use "${printable(segment)}" in the pattern "${
            printable(pattern)
          }": a parameter is a colon and a name that occurs once, such as ":id"`,
        );
      }
      names.add(name);
    }
    this.shape = this.#segments
      .map((segment) => segment.startsWith(":") ? ":" : segment).join("/");
  }

  /** Whether an object has all parameters. */
  has(params: Readonly<Record<string, string>>): boolean {
    return this.#segments.every((segment) =>
      !segment.startsWith(":") || Object.hasOwn(params, segment.slice(1))
    );
  }

  /**
   * Matches a name. A parameter is a whole segment, encoded as by `encodeURIComponent`. No
   * other encoding matches, so that no two names have the same parameters.
   *
   * @returns The decoded parameters; undefined if the name does not match.
   */
  match(name: string): Readonly<Record<string, string>> | undefined {
    const found = name.split("/", this.#segments.length + 1);
    if (found.length !== this.#segments.length) return undefined;
    const params: [string, string][] = [];
    for (const [i, segment] of this.#segments.entries()) {
      const value = found[i] ?? "";
      if (!segment.startsWith(":")) {
        if (value !== segment) return undefined;
        continue;
      }
      const decoded = decodeSegment(value);
      if (decoded === undefined) return undefined;
      params.push([segment.slice(1), decoded]);
    }
    return Object.fromEntries(params);
  }
}

/** Decodes a parameter; undefined if it is empty or encoded otherwise. */
function decodeSegment(segment: string): string | undefined {
  try {
    const value = decodeURIComponent(segment);
    return value !== "" && encodeURIComponent(value) === segment
      ? value
      : undefined;
  } catch { // it is malformed
    return undefined;
  }
}
