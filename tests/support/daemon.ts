/** Programs of the system that listen at a port. */

/** Takes a port that nobody listens at. */
export function freePort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return listener.addr.port;
}

/** A program that Debian puts where not everybody looks. */
export async function findInSbin(name: string): Promise<string> {
  try {
    await Deno.stat(`/usr/sbin/${name}`);
    return `/usr/sbin/${name}`;
  } catch {
    return name;
  }
}

/** Waits until a program listens; it says so nowhere else. */
export async function listening(
  process: Deno.ChildProcess,
  port: number,
): Promise<void> {
  let hasEnded = false;
  process.status.then(() => hasEnded = true);
  while (!await isListening(port)) {
    if (hasEnded) throw new Error(`What was to listen at ${port} has ended`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

async function isListening(port: number): Promise<boolean> {
  try {
    const tcp = await Deno.connect({ hostname: "127.0.0.1", port });
    tcp.close();
    return true;
  } catch {
    return false;
  }
}
