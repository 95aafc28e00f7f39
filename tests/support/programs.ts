/**
 * Which programs a test needs that a machine may lack. Without them a test is reported
 * as ignored, and in CI it fails. `.ci/run` installs all of them on Debian.
 */

import { findInSbin } from "./daemon.ts";
import { findRuntime } from "./runtimes.ts";

/** How each program shows that it is there. */
const CHECKS = {
  bash: () => runs("bash", "-c", "true"),
  bun: async () => await findRuntime("bun") !== undefined,
  caddy: () => runs("caddy", "version"),
  cc: () => runs("cc", "--version"),
  chromium: async () => await findRuntime("chromium") !== undefined,
  curl: () => runs("curl", "--version"),
  git: () => runs("git", "--version"),
  "nats-server": async () => runs(await findInSbin("nats-server"), "--version"),
  nginx: async () => runs(await findInSbin("nginx"), "-v"),
  node: async () => await findRuntime("node") !== undefined,
  openssl: () => runs("openssl", "version"),
  "python3-websockets": () =>
    runs("/usr/bin/python3", "-c", "import websockets"),
  "redis-server": () => runs("redis-server", "--version"),
  sh: () => runs("sh", "-c", "true"),
  "systemd-analyze": () => runs("systemd-analyze", "--version"),
} as const;

/** A program, by the name of its package in Debian where it has one. */
export type ProgramName = keyof typeof CHECKS;

async function runs(command: string, ...args: string[]): Promise<boolean> {
  try {
    const { success } = await new Deno.Command(command, {
      args,
      stdin: "null",
      stdout: "null",
      stderr: "null",
    }).output();
    return success;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

async function isGranted(
  descriptor: Deno.PermissionDescriptor,
): Promise<boolean> {
  return (await Deno.permissions.query(descriptor)).state === "granted";
}

/** Whether a test has to fail if its program is missing: in CI, where none may be. */
export async function requiresPrograms(): Promise<boolean> {
  return await isGranted({ name: "env", variable: "CI" }) &&
    Boolean(Deno.env.get("CI"));
}

/**
 * Whether a machine lacks one of the programs, which it then prints. In CI nothing may
 * be missing, and so the answer is always no.
 */
export async function lacksProgram(...names: ProgramName[]): Promise<boolean> {
  // Without the permission, the test is ignored for that reason.
  if (!await isGranted({ name: "run" })) return false;
  if (await requiresPrograms()) return false;
  const missing = await missingPrograms(names);
  for (const name of missing) {
    console.log(`Tests are ignored, as ${name} is not installed`);
  }
  return missing.length > 0;
}

/** Those of several things that a machine lacks the program for. */
export async function lackingOf(
  programs: Readonly<Record<string, ProgramName>>,
): Promise<ReadonlySet<string>> {
  const lacking = new Set<string>();
  for (const [name, program] of Object.entries(programs)) {
    if (await lacksProgram(program)) lacking.add(name);
  }
  return lacking;
}

/** The programs that a machine lacks; of all by default. */
export async function missingPrograms(
  names?: readonly string[],
): Promise<string[]> {
  const missing: string[] = [];
  for (const [name, isThere] of Object.entries(CHECKS)) {
    if (names && !names.includes(name)) continue;
    if (!await isThere()) missing.push(name);
  }
  return missing;
}
