/**
 * Validates data by a schema of any library that implements Standard Schema. What follows
 * a failure is decided by `Dispatcher` (`core/connection/dispatcher.ts`): an `error`
 * event, the failure of a request and, if the option asks for it, a close with 1008.
 *
 * @see {@link https://standardschema.dev | Standard Schema}
 * @module
 */

import { ignoreRejection, isThenable } from "../events/errors.ts";
import { printable } from "../util/printable.ts";

/** The maximum number of issues in an error, as the peer controls their number. */
const MAX_ISSUES = 8;

/** The maximum number of steps in a path, and of characters in a step. */
const MAX_PATH_STEPS = 16;
const MAX_STEP_CHARS = 64;

/** The maximum length of an issue in an error message. */
const MAX_ISSUE_CHARS = 300;

/**
 * A schema of any library that implements version 1 of Standard Schema, such as Zod,
 * Valibot or ArkType. It must be synchronous.
 *
 * @typeParam Output The type of valid data, after the schema has transformed it.
 * @typeParam Input The type of valid data before that.
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
export interface StandardSchema<Output = unknown, Input = unknown> {
  /** The interface that the standard requires. */
  readonly "~standard": {
    /** The version of the standard. */
    readonly version: 1;
    /** The name of the library. */
    readonly vendor: string;
    /** Validates a value. */
    readonly validate: (
      value: unknown,
    ) => SchemaResult<Output> | Promise<SchemaResult<Output>>;
    /** The types of the schema. Undefined at run time. */
    readonly types?:
      | { readonly input: Input; readonly output: Output }
      | undefined;
  };
}

/** The result of a validation: the output of the schema, or the issues that it found. */
export type SchemaResult<Output> =
  | { readonly value: Output; readonly issues?: undefined }
  | { readonly issues: readonly SchemaIssue[] };

/** An issue that a schema found. */
export interface SchemaIssue {
  /** The human-readable description of the issue. */
  readonly message: string;
  /** The path to the invalid part of the value; the value itself if undefined. */
  readonly path?:
    | readonly (PropertyKey | { readonly key: PropertyKey })[]
    | undefined;
}

/**
 * An error for data that does not match a schema: of a message or a reply.
 *
 * @example Log what a client sent wrong
 * ```ts
 * import { SchemaError, ServerSocket } from "jsr:@ws/events";
 * import { z } from "npm:zod@4.6.7";
 *
 * const server = new ServerSocket({ schema: z.object({ text: z.string() }) });
 * server.on("error", (error) => {
 *   if (error instanceof SchemaError) console.warn(error.issues[0]?.message);
 * });
 * ```
 */
export class SchemaError extends Error {
  /** The name of the error: `SchemaError`. */
  override readonly name = "SchemaError";
  /**
   * The first 8 issues. Long messages and paths are truncated, and control characters are
   * escaped.
   */
  readonly issues: readonly SchemaIssue[];
  /** The total number of issues, including those beyond the first 8. */
  readonly issueCount: number;

  /**
   * Creates the error.
   *
   * @param what The name of the data, for the error message.
   * @param issues The issues.
   */
  constructor(what: string, issues: readonly SchemaIssue[]) {
    const shown = issues.slice(0, MAX_ISSUES).map(shortenIssue);
    const lines = shown.map((issue) =>
      printable(formatIssue(issue), MAX_ISSUE_CHARS)
    );
    const more = issues.length - shown.length;
    if (more > 0) lines.push(`and ${more} more`);
    super(`${what} does not match the schema: ${lines.join("; ")}`);
    this.issues = shown;
    this.issueCount = issues.length;
  }
}

/** Truncates what the peer controls. */
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
 * Checks that a value is a schema, and returns it.
 *
 * @throws {TypeError} If it does not implement the standard.
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
 * Validates a value, and returns the output of the schema.
 *
 * @param what The name of the value, for error messages.
 * @throws {SchemaError} If the value does not match.
 * @throws {TypeError} If the schema is asynchronous, as messages would get out of order.
 */
export function validate<Output>(
  schema: StandardSchema<Output>,
  value: unknown,
  what: string,
): Output {
  const result = schema["~standard"].validate(value);
  if (isThenable(result)) {
    ignoreRejection(Promise.resolve(result)); // a peer must not cause an unhandled rejection
    throw new TypeError(
      `Cannot validate ${what} with an asynchronous schema: move asynchronous checks to a listener`,
    );
  }
  if (result.issues) throw new SchemaError(what, result.issues);
  return result.value;
}
