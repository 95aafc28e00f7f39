// Checks that the client is fit for a browser: its types with the browser's
// library alone, and its size when it is bundled, beside that of others.

/** More than this is a mistake: somebody has imported what a page does not need. */
const MOST_BYTES = 34 * 1024;

const OTHERS = {
  "socket.io-client": "npm:socket.io-client@4.8.4",
  partysocket: "npm:partysocket@1.3.0",
};

async function deno(...args: string[]): Promise<Uint8Array<ArrayBuffer>> {
  const { success, stdout } = await new Deno.Command("deno", {
    args,
    stderr: "inherit",
    stdin: "null",
  }).output();
  if (!success) throw new Error(`deno ${args.join(" ")} failed`);
  return stdout;
}

/** How many bytes a module takes on its way to a browser. */
async function sizeOf(module: string): Promise<{ full: number; sent: number }> {
  const script = await deno(
    "bundle",
    "--quiet",
    "--platform=browser",
    "--minify",
    module,
  );
  const gzip = new Blob([script]).stream()
    .pipeThrough(new CompressionStream("gzip"));
  const sent = new Uint8Array(await new Response(gzip).arrayBuffer());
  return { full: script.length, sent: sent.length };
}

function inKiB(bytes: number): string {
  return `${(bytes / 1024).toFixed(1)} KiB`;
}

await deno("check", "--quiet", "--config=tools/browser.json", "client.ts");
console.log("The types are those of a browser");

const own = await sizeOf("client.ts");
const table = { "@ws/events/client": own };
for (const [name, specifier] of Object.entries(OTHERS)) {
  const file = await Deno.makeTempFile({ suffix: ".ts" });
  try {
    await Deno.writeTextFile(file, `export * from "${specifier}";\n`);
    Object.assign(table, { [name]: await sizeOf(file) });
  } finally {
    await Deno.remove(file);
  }
}
for (const [name, { full, sent }] of Object.entries(table)) {
  console.log(`${name}: ${inKiB(sent)} gzipped, ${inKiB(full)} minified`);
}
if (own.sent > MOST_BYTES) {
  console.error(
    `The client takes ${own.sent} bytes, more than ${MOST_BYTES}: import less, or raise the bound`,
  );
  Deno.exit(1);
}
