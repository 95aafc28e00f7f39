// Prints what a program gets that uses this library, and what it gets with others:
// packages, files and their size. JSR sends the modules that are imported, npm whole
// packages.

import { parts } from "./package.ts";

const OWN = { "@ws/events": "mod.ts", "@ws/events/client": "client.ts" };

const OTHERS = [
  "crossws@0.4.17",
  "partysocket@1.3.0",
  "socket.io@4.8.4",
  "socket.io-client@4.8.4",
  "ws@8.23.0",
];

interface Weight {
  readonly packages: number;
  readonly files: number;
  readonly bytes: number;
}

/** What is in a folder, and in those within it. */
async function weigh(folder: string): Promise<Weight> {
  let packages = 0, files = 0, bytes = 0;
  for await (const { name, isDirectory } of Deno.readDir(folder)) {
    if (name === ".bin" || name === ".package-lock.json") continue; // npm's own
    const path = `${folder}/${name}`;
    if (isDirectory) {
      const inner = await weigh(path);
      packages += inner.packages;
      files += inner.files;
      bytes += inner.bytes;
    } else {
      files++;
      bytes += (await Deno.stat(path)).size;
      if (/node_modules\/(@[^/]+\/)?[^/]+$/.test(folder)) {
        packages += name === "package.json" ? 1 : 0;
      }
    }
  }
  return { packages, files, bytes };
}

/** What an entry point of this library brings. */
async function own(module: string): Promise<Weight> {
  const { files, strangers } = await parts(module);
  if (strangers.length > 0) throw new Error(`${module} imports ${strangers}`);
  const sizes = await Promise.all(
    files.map(async (file) => (await Deno.stat(file)).size),
  );
  const bytes = sizes.reduce((sum, size) => sum + size, 0);
  return { packages: 1, files: files.length, bytes };
}

/** What npm installs for a package. */
async function installed(name: string): Promise<Weight> {
  const folder = await Deno.makeTempDir();
  try {
    const { success } = await new Deno.Command("npm", {
      args: ["install", "--no-audit", "--no-fund", "--ignore-scripts", name],
      cwd: folder,
      stdout: "null",
      stderr: "inherit",
    }).output();
    if (!success) throw new Error(`npm install ${name} failed`);
    return await weigh(`${folder}/node_modules`);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

const table = new Map<string, Weight>();
for (const [name, module] of Object.entries(OWN)) {
  table.set(name, await own(module));
}
for (const name of OTHERS) table.set(name, await installed(name));

console.log("| what                   | packages | files |    KiB |");
console.log("| ---------------------- | -------- | ----- | ------ |");
for (const [name, { packages, files, bytes }] of table) {
  const cells = [
    name.padEnd(22),
    `${packages}`.padStart(8),
    `${files}`.padStart(5),
    (bytes / 1024).toFixed(0).padStart(6),
  ];
  console.log(`| ${cells.join(" | ")} |`);
}
