/**
 * Runs the two commands that the README begins with on a copy of a fresh machine: one
 * that has Deno and the cache of its dependencies, and no other program, no shell
 * among them. It is a mount namespace of Linux, which needs root; everything it writes
 * goes to memory and is gone with it.
 *
 * By default it tests the modules that say, or whose helpers in `tests/support/` say,
 * that they start a program other than Deno, as only those can miss one. `--all` tests
 * everything (some ten minutes), a list of files tests only those.
 */

/** What a module says that starts a program other than Deno. */
const STARTS_PROGRAMS =
  /lacksProgram\(|lackingOf\(|find(?:Runtime|Browser|InSbin)\(|\bcommand: "|Deno\.Command\(\s*(?!Deno\.execPath|"deno")/;

/** Starts Deno, unless its caller names a command. */
const PROGRAM = "tests/support/program.ts";

/** Say so for one of their cases, and take minutes for the others. */
const SLOW = /^tests\/(?:integration\/(?:trials|presence)|model\/.*)_test\.ts$/;

const LIBRARIES =
  /(?:from|import\()\s*"(\.{1,2}\/[^"]+)"|new URL\(\s*"(\.{1,2}\/[^"]+\.ts)"/g;

/** Follows the relative imports of modules; what each says is read once. */
class Sources {
  readonly #texts = new Map<string, string>();

  /** Whether a module, or one that it imports, can start a program. */
  async startsPrograms(
    path: string,
    seen: Set<string> = new Set(),
  ): Promise<boolean> {
    if (seen.has(path) || path === PROGRAM) return false;
    seen.add(path);
    const text = await this.#read(path);
    if (STARTS_PROGRAMS.test(text)) return true;
    for (const [, imported, linked] of text.matchAll(LIBRARIES)) {
      const target = imported ?? linked ?? "";
      const next = new URL(target, `file:///${path}`).pathname.slice(1);
      if (await this.startsPrograms(next, seen)) return true;
    }
    return false;
  }

  async #read(path: string): Promise<string> {
    const known = this.#texts.get(path);
    if (known !== undefined) return known;
    let text = "";
    try {
      text = await Deno.readTextFile(path);
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
    this.#texts.set(path, text);
    return text;
  }
}

/** What a clone would have, with the changes that are not committed yet. */
async function files(): Promise<string[]> {
  const { stdout } = await new Deno.Command("git", {
    args: ["ls-files", "-z", "--cached", "--others", "--exclude-standard"],
  }).output();
  return new TextDecoder().decode(stdout).split("\0").filter(Boolean);
}

/** The test modules that can start a program. */
async function testsWithPrograms(): Promise<string[]> {
  const sources = new Sources();
  const found: string[] = [];
  for (const file of await files()) {
    if (!/^(?:tests|examples)\/.*_test\.tsx?$/.test(file)) continue;
    if (SLOW.test(file)) continue;
    if (await sources.startsPrograms(file)) found.push(file);
  }
  return found.sort();
}

/**
 * Prepares the machine in `$ROOT`, then becomes the command in the copy of the
 * repository. The cache is laid under a layer in memory, so that it stays as it is.
 */
const SCRIPT = `set -eu
mount --make-rprivate /
mount -t tmpfs none "$ROOT"
cd "$ROOT"
mkdir -p bin etc/ssl tmp proc dev root project cache layer
chmod 1777 tmp
cp "$DENO" bin/deno
for lib in $(ldd "$DENO" | grep -o '/[^ ]*'); do
  mkdir -p ".\${lib%/*}"
  cp -L "$lib" ".$lib"
done
for lib in /lib/*-linux-gnu/libnss_*.so.2 /lib/*-linux-gnu/libresolv.so.2; do
  mkdir -p ".\${lib%/*}"
  cp -L "$lib" ".$lib"
done
for file in resolv.conf hosts nsswitch.conf passwd group; do
  cp -L "/etc/$file" etc/ 2>/dev/null || true
done
cp -rL /etc/ssl/certs etc/ssl/ 2>/dev/null || true
if [ -f "$USER_HOME/.npmrc" ]; then cp "$USER_HOME/.npmrc" root/; fi
mount -t proc none proc
mount --rbind /dev dev
mount -t tmpfs none layer
mkdir layer/upper layer/work
mount -t overlay none -o \
  "lowerdir=$CACHE,upperdir=layer/upper,workdir=layer/work" cache
tar -C "$REPOSITORY" --null -T "$FILES" -cf - | tar -C project -xf -
export PATH=/bin HOME=/root DENO_DIR=/cache NO_COLOR=1
unset CI
exec /usr/bin/unshare --root "$ROOT" --wd /project /bin/deno "$@"`;

/** Does what the script needs a permission for, and nothing else. */
const PROBE = `set -eu
mount --make-rprivate /
mount -t tmpfs none "$ROOT"
mkdir "$ROOT/cache" "$ROOT/upper" "$ROOT/work"
mount -t overlay none -o \
  "lowerdir=$CACHE,upperdir=$ROOT/upper,workdir=$ROOT/work" "$ROOT/cache"`;

/** Starts Deno on a fresh machine. */
class FreshMachine implements AsyncDisposable {
  readonly #env: Record<string, string>;
  readonly #folder: string;

  private constructor(folder: string, env: Record<string, string>) {
    this.#folder = folder;
    this.#env = env;
  }

  static async make(): Promise<FreshMachine> {
    const folder = await Deno.makeTempDir();
    await Deno.writeTextFile(`${folder}/files`, (await files()).join("\0"));
    await Deno.mkdir(`${folder}/root`);
    return new FreshMachine(folder, {
      ROOT: `${folder}/root`,
      FILES: `${folder}/files`,
      DENO: await Deno.realPath(Deno.execPath()),
      CACHE: await cacheFolder(),
      REPOSITORY: Deno.cwd(),
      USER_HOME: Deno.env.get("HOME") ?? "/root",
    });
  }

  /** Whether this machine allows it: containers often do not. */
  async isAllowed(): Promise<boolean> {
    const child = this.#run(PROBE, []);
    await child.stdout.cancel();
    return (await child.status).success;
  }

  /** Starts `deno` with arguments there. */
  start(args: readonly string[]): Deno.ChildProcess {
    return this.#run(SCRIPT, args);
  }

  #run(script: string, args: readonly string[]): Deno.ChildProcess {
    const unshare = ["unshare", "--mount"];
    const shell = ["sh", "-c", script, "sh", ...args];
    const [command = "", ...rest] = Deno.uid() === 0
      ? [...unshare, ...shell]
      : ["sudo", "--preserve-env", ...unshare, ...shell];
    return new Deno.Command(command, {
      args: rest,
      env: this.#env,
      stdin: "null",
      stdout: "piped",
      stderr: "inherit",
    }).spawn();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Deno.remove(this.#folder, { recursive: true });
  }
}

/** Where Deno keeps what it has downloaded. */
async function cacheFolder(): Promise<string> {
  const { stdout } = await new Deno.Command("deno", {
    args: ["info", "--json"],
  }).output();
  const info: unknown = JSON.parse(new TextDecoder().decode(stdout));
  if (
    typeof info === "object" && info !== null && "denoDir" in info &&
    typeof info.denoDir === "string"
  ) return info.denoDir;
  throw new Error(`Cannot find Deno's cache: "deno info" does not name it`);
}

/** The server's command: whether a client is greeted. */
async function tryServer(machine: FreshMachine): Promise<void> {
  const child = machine.start([
    ...["run", "--allow-net", "examples/server.ts", "localhost", "0"],
  ]);
  try {
    const url = await firstUrl(child.stdout);
    const { promise, resolve, reject } = Promise.withResolvers<string>();
    const socket = new WebSocket(url);
    socket.onmessage = ({ data }) => resolve(String(data));
    socket.onclose = () => reject(new Error(`${url} closed`));
    const greeting = await promise;
    socket.onclose = null;
    socket.close();
    console.log(`=== examples/server.ts at ${url} greets with ${greeting}`);
  } finally {
    child.kill("SIGTERM");
    await child.status;
  }
}

/** The first URL that a program prints. */
async function firstUrl(
  stdout: ReadableStream<Uint8Array<ArrayBuffer>>,
): Promise<string> {
  let output = "";
  for await (const text of stdout.pipeThrough(new TextDecoderStream())) {
    output += text;
    const [url] = /ws:\/\/\S+/.exec(output) ?? [];
    if (url !== undefined) return url;
  }
  throw new Error(`The server ended: ${output}`);
}

/** Runs `deno` with its output shown; gives what it printed if it succeeds. */
async function run(
  machine: FreshMachine,
  args: readonly string[],
): Promise<string> {
  const child = machine.start(args);
  let output = "";
  for await (const text of child.stdout.pipeThrough(new TextDecoderStream())) {
    output += text;
    await Deno.stdout.write(new TextEncoder().encode(text));
  }
  const { code } = await child.status;
  if (code === 0) return output;
  throw new Error(`"deno ${args[0]} ${args[1]}" failed with exit code ${code}`);
}

/** The tests' command, or the two parts of it with only some modules. */
async function tryTests(
  machine: FreshMachine,
  modules: readonly string[],
): Promise<void> {
  const output = modules.length === 0
    ? await run(machine, ["task", "test"])
    : await run(machine, [
      ...["test", "--parallel", "--allow-all", ...modules],
    ]) + await run(machine, ["run", "--allow-all", "tools/missing.ts"]);
  if (!/\d+ ignored/.test(output)) {
    throw new Error("Nothing was ignored: the machine is not sealed");
  }
  if (!/are not installed/.test(output)) {
    throw new Error("No closing line names the programs that are missing");
  }
}

if (Deno.build.os !== "linux") {
  console.log("Skipped: a mount namespace needs Linux");
  Deno.exit();
}
const modules = Deno.args.includes("--all")
  ? []
  : Deno.args.length > 0
  ? Deno.args
  : await testsWithPrograms();
await using machine = await FreshMachine.make();
if (await machine.isAllowed()) {
  await tryServer(machine);
  await tryTests(machine, modules);
} else console.log("Skipped: this machine allows no mount namespace");
