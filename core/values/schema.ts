/**
 * Checks data by any library that follows Standard Schema.
 *
 * @see {@link https://standardschema.dev | Standard Schema}
 * @module
 */

import { ignoreRejection, isThenable } from "../events/errors.ts";
import { printable } from "../util/printable.ts";

/** How many issues an error keeps: a peer decides how many there are. */
const MAX_ISSUES = 8;

/** How many steps of a path an issue keeps, and how many characters of each. */
const MAX_PATH_STEPS = 16;
const MAX_STEP_CHARS = 64;

/** How many characters of an issue stand in the message of an error. */
const MAX_ISSUE_CHARS = 300;

/**
 * A schema of any library that follows Standard Schema, version 1: Zod, Valibot,
 * ArkType and others.
 *
 * @typeParam Output The type of what it lets pass.
 *
 * @example
 * ```ts
 * import { ServerSocket } from "jsr:@ws/events";
 * import { z } from "npm:zod@4.6.7";
 *
 * const server = new ServerSocket({
 *   schema: z.object({ type: z.literal("chat"), text: z.string() }),
 * });
 * server.on("message", ({ data }) => console.log(data.text.toUpperCase()));
 * ```
 */
export interface StandardSchema<Output = unknown> {
  /** What the standard asks for. */
  readonly "~standard": {
    /** The version of the standard. */
    readonly version: 1;
    /** Whose schema it is. */
    readonly vendor: string;
    /** Checks a value. */
    readonly validate: (
      value: unknown,
    ) => SchemaResult<Output> | Promise<SchemaResult<Output>>;
    /** For the compiler alone. */
    readonly types?:
      | { readonly input: unknown; readonly output: Output }
      | undefined;
  };
}

/** What a schema says of a value: what it makes of it, or what is wrong. */
export type SchemaResult<Output> =
  | { readonly value: Output; readonly issues?: undefined }
  | { readonly issues: readonly SchemaIssue[] };

/** What is wrong with a value. */
export interface SchemaIssue {
  /** What is wrong, for a human reader. */
  readonly message: string;
  /** Where. */
  readonly path?:
    | readonly (PropertyKey | { readonly key: PropertyKey })[]
    | undefined;
}

/** Data that a schema does not let pass. */
export class SchemaError extends Error {
  /** The name of this class. */
  override readonly name = "SchemaError";
  /**
   * What is wrong with it: the first 8 issues, each with its message and its path. Long
   * messages and paths are cut, and control characters escaped.
   */
  readonly issues: readonly SchemaIssue[];
  /** How many issues there were in all. */
  readonly issueCount: number;

  /**
   * Creates the error.
   *
   * @param what What was checked.
   * @param issues What is wrong with it.
   */
  constructor(what: string, issues: readonly SchemaIssue[]) {
    const kept = issues.slice(0, MAX_ISSUES).map(shortenIssue);
    const lines = kept.map((issue) =>
      printable(formatIssue(issue), MAX_ISSUE_CHARS)
    );
    const more = issues.length - kept.length;
    if (more > 0) lines.push(`and ${more} more`);
    super(`${what} does not fit the schema: ${lines.join("; ")}`);
    this.issues = kept;
    this.issueCount = issues.length;
  }
}

/** An issue without what a peer can make as long as it likes. */
function shortenIssue({ message, path }: SchemaIssue): SchemaIssue {
  const short = printable(`${message}`);
  if (path === undefined) return { message: short };
  const steps = path.slice(0, MAX_PATH_STEPS).map((step) => {
    const key = typeof step === "object" ? step.key : step;
    return typeof key === "string" ? printable(key, MAX_STEP_CHARS) : key;
  });
  return { message: short, path: steps };
}

function formatIssue({ message, path = [] }: SchemaIssue): string {
  return path.length > 0
    ? `${path.map((step) => String(step)).join(".")}: ${message}`
    : message;
}

/**
 * Finds out whether something is a schema.
 *
 * @typeParam Other What it is if not.
 * @typeParam Output The type of what it lets pass, if it is one.
 * @param schema What may be a schema.
 * @returns The schema.
 * @throws {TypeError} If it does not follow the standard.
 */
export function toSchema<Other, Output>(
  schema: Other | StandardSchema<Output>,
): StandardSchema<Output> {
  if (isSchema<Other, Output>(schema)) return schema;
  throw new TypeError(
    `Cannot use "schema" unless it follows Standard Schema, as those of Zod, Valibot and ArkType do: current value is of type ${typeof schema}`,
  );
}

function isSchema<Other, Output>(
  value: Other | StandardSchema<Output>,
): value is StandardSchema<Output> {
  return (typeof value === "object" || typeof value === "function") &&
    value !== null && "~standard" in value;
}

/**
 * Checks a value.
 *
 * @param schema The schema.
 * @param value The value.
 * @param what What it is, for the error's text.
 * @returns What the schema makes of it.
 * @throws {SchemaError} If it does not fit.
 * @throws {TypeError} If the schema takes its time: messages would come out of order.
 */
export function validate<Output>(
  schema: StandardSchema<Output>,
  value: unknown,
  what: string,
): Output {
  const result = schema["~standard"].validate(value);
  if (isThenable(result)) {
    ignoreRejection(Promise.resolve(result)); // a peer must not end the process by it
    throw new TypeError(
      `Cannot check ${what} with a schema that is asynchronous: await what takes time in a listener`,
    );
  }
  if (result.issues) throw new SchemaError(what, result.issues);
  return result.value;
}
