/**
 * One contract for both ends: what a server and its clients send each other, and how each
 * type of request is answered, as TypeScript types or as schemas.
 *
 * @example As schemas, which each end checks
 * ```ts
 * import { ClientSocket, ServerSocket } from "jsr:@ws/events";
 * import { contract } from "jsr:@ws/events/contract";
 * import { z } from "npm:zod@4.6.7";
 *
 * const chat = contract({
 *   client: {
 *     say: z.object({ text: z.string() }),
 *     sum: { data: z.object({ numbers: z.array(z.number()) }), reply: z.number() },
 *   },
 *   server: { said: z.object({ text: z.string() }) },
 * });
 *
 * const server = new ServerSocket({ contract: chat });
 * const client = new ClientSocket({ contract: chat });
 * ```
 *
 * @example As types, which cost nothing and check nothing
 * ```ts
 * import { ClientSocket, ServerSocket } from "jsr:@ws/events";
 * import type { ClientTypes, ServerTypes } from "jsr:@ws/events/contract";
 *
 * interface Chat {
 *   client: {
 *     say: { text: string };
 *     sum(data: { numbers: number[] }): number;
 *   };
 *   server: { said: { text: string } };
 * }
 *
 * const server = new ServerSocket<ServerTypes<Chat>>();
 * const client = new ClientSocket<ClientTypes<Chat>>();
 * ```
 *
 * @module
 */

export { contract } from "./core/values/contract.ts";
export type {
  CheckedContract,
  CheckedData,
  CheckedEntry,
  CheckedValue,
  ClientTypes,
  Contract,
  ContractDefinition,
  ContractPart,
  ContractSide,
  MessagesOf,
  RequestSchemas,
  RequestsOf,
  ServerTypes,
  SideSchemas,
  ValuesOf,
  WithType,
} from "./core/values/contract_types.ts";
export type { JsonData } from "./core/values/json_types.ts";
