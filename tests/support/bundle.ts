/** One file that runs elsewhere, made of a module of this repository. */

export async function bundle(
  module: string,
  ...options: string[]
): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["bundle", "--quiet", ...options, module],
    cwd: new URL("../..", import.meta.url),
    stdin: "null",
  }).output();
  if (!success) throw new Error(new TextDecoder().decode(stderr));
  return new TextDecoder().decode(stdout);
}
