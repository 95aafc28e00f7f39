/**
 * Which permissions a test run lacks. Without them a test is reported as
 * ignored; `deno task test` grants all and ignores nothing.
 */

/** What the tests that start a broker need. */
export const BROKER_PERMISSIONS = [
  "net",
  "run",
  "env",
  "read",
  "write",
  "sys",
] as const;

export async function lacksPermission(
  ...names: ("net" | "run" | "read" | "env" | "sys" | "write")[]
): Promise<boolean> {
  const statuses = await Promise.all(
    names.map((name) => Deno.permissions.query({ name })),
  );
  return statuses.some(({ state }) => state !== "granted");
}
