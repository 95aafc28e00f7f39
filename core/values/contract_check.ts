/**
 * Checks the option `contract` of a socket.
 *
 * @module
 */

import type { Codec } from "./codec.ts";
import type { ContractSide } from "./contract_types.ts";

/** The options of a socket that are used here. */
interface ContractOptions {
  readonly schema?: unknown;
  readonly codec?: Codec;
}

/**
 * Checks that an option is a contract, and that it agrees with the other options.
 *
 * @param side What the socket needs of the contract; undefined if it is none.
 * @throws {TypeError} If it is not.
 */
export function assertContract<Types>(
  side: ContractSide<Types> | undefined,
  { schema, codec }: ContractOptions,
): void {
  if (!(side?.replies instanceof Map)) {
    throw new TypeError(
      'Cannot use "contract" unless contract() of @ws/events/contract has made it',
    );
  }
  if (schema !== undefined) {
    throw new TypeError(
      'Cannot use "schema" together with "contract", which has the schemas: leave it out',
    );
  }
  const { codecName } = side;
  const own = codec?.name ?? "";
  if (codecName === own) return;
  throw new TypeError(
    `Cannot use a contract for ${describe(codecName)} with ${
      describe(own)
    }: set "codec" in both or in neither`,
  );
}

function describe(codecName: string): string {
  return codecName ? `the codec "${codecName}"` : "JSON";
}
