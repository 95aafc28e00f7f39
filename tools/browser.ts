// Checks that the client is fit for a browser: its types with the browser's
// library alone, and its size when it is bundled, beside that of others.

/** The most that `ClientSocket` alone may take: more is something that a page pays for. */
const MOST_BYTES = 31 * 1024;

/** The same for that of `@ws/events/client/page`. The aim is 12.5 KiB. */
const MOST_PAGE_BYTES = 21 * 1024;

/** What a page may import in addition, each from an entry point of its own. */
const ADDITIONS = [
  "codec",
  "concurrency",
  "handlers",
  "iterators",
  "schema",
];

/** The pages among the examples. React itself is the most of one of them. */
const PAGES = ["examples/chat/page/page.ts", "examples/react/page/page.tsx"];

const OTHERS = {
  "socket.io-client": "npm:socket.io-client@4.8.4",
  phoenix: "npm:phoenix@1.8.16",
  partysocket: "npm:partysocket@1.3.0",
};

/** The size of a bundle in bytes: minified, and compressed. */
interface Size {
  readonly full: number;
  readonly sent: number;
}

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
async function sizeOf(module: string): Promise<Size> {
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

/** The size of a module with a text. */
async function sizeOfText(text: string): Promise<Size> {
  const file = await Deno.makeTempFile({ suffix: ".ts" });
  try {
    await Deno.writeTextFile(file, text);
    return await sizeOf(file);
  } finally {
    await Deno.remove(file);
  }
}

function inKiB(bytes: number): string {
  return `${(bytes / 1024).toFixed(1)} KiB`;
}

function print(name: string, { full, sent }: Size, sign = ""): void {
  console.log(
    `${name}: ${sign}${inKiB(sent)} gzipped, ${sign}${inKiB(full)} minified`,
  );
}

function urlOf(path: string): string {
  return new URL(`../${path}`, import.meta.url).href;
}

await deno(
  "check",
  "--quiet",
  "--config=tools/browser.json",
  "lean.ts",
  "page.ts",
);
console.log("The types are those of a browser");

const entry = urlOf("lean.ts");
const alone = await sizeOfText(`export { ClientSocket } from "${entry}";\n`);
print("ClientSocket of @ws/events/client/lean", alone);
const additions = ADDITIONS.map((name) => [
  `@ws/events/client/${name}`,
  `import "${urlOf(`core/features/${name}.ts`)}";`,
]);
for (const [name, text] of additions) {
  const { full, sent } = await sizeOfText(
    `${text}\nexport { ClientSocket } from "${entry}";\n`,
  );
  const added = { full: full - alone.full, sent: sent - alone.sent };
  print(`  with ${name}`, added, "+");
}
const channels = await sizeOfText(
  `export { channel } from "${
    urlOf("core/channels/client_channels.ts")
  }";\nexport { ClientSocket } from "${entry}";\n`,
);
print("  with channel of @ws/events/channels", {
  full: channels.full - alone.full,
  sent: channels.sent - alone.sent,
}, "+");
const small = await sizeOfText(
  `export { ClientSocket } from "${urlOf("page.ts")}";\n`,
);
print("ClientSocket of @ws/events/client/page", small);
for (const page of PAGES) print(page, await sizeOf(page));
for (const [name, specifier] of Object.entries(OTHERS)) {
  print(name, await sizeOfText(`export * from "${specifier}";\n`));
}
if (small.sent > MOST_PAGE_BYTES) {
  console.error(
    `ClientSocket of a page takes ${small.sent} bytes, more than ${MOST_PAGE_BYTES}: import less, or raise the bound`,
  );
  Deno.exit(1);
}
if (alone.sent > MOST_BYTES) {
  console.error(
    `ClientSocket takes ${alone.sent} bytes, more than ${MOST_BYTES}: import less, or raise the bound`,
  );
  Deno.exit(1);
}
