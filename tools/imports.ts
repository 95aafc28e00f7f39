// Checks which module imports which: of the published modules, each may import
// only its own folder and what stands below it in the list, and no modules
// import each other in a circle.

/** The published modules and folders, from the top down. */
const LAYERS: readonly string[] = [
  "cli.ts",
  "cli/",
  "telemetry.ts",
  "telemetry/",
  "debug.ts",
  "debug/",
  "inspect.ts",
  "inspect/",
  "testing.ts",
  "channels.ts",
  "core/channels/",
  "mod.ts",
  "server.ts",
  "client.ts",
  "lean.ts",
  "page.ts",
  "core/public.ts",
  "core/public_common.ts",
  "testing/",
  "adapters/",
  "adapters/redis/",
  "adapter.ts",
  "core/server/",
  "core/rooms/",
  "core/cluster/",
  "core/history/",
  "core/admission/",
  "core/features/",
  "core/page/",
  "core/client/",
  "core/retries/",
  "core/reconnect/",
  "core/connection/",
  "core/requests/",
  "message.ts",
  "contract.ts",
  "core/sending/",
  "core/protocol/",
  "core/runtime/",
  "core/values/",
  "core/events/",
  "core/util/",
];

/** Stand one above the other in the list, but do not know each other. */
const STRANGERS = ["server.ts", "client.ts"];

/** The only published module that names the global `Deno`. */
const RUNTIME = "core/runtime/deno_server.ts";

const COMMENT_OR_STRING = /\/\*[^]*?\*\/|\/\/.*|"(?:\\.|[^"\\\n])*"/g;

const DECLARATION =
  /^(?:export )?(?:abstract )?(?:async )?(?:const|let|function\*?|class|interface|type) (\w+)/gm;

interface Graph {
  readonly modules: readonly {
    readonly specifier: string;
    readonly dependencies?: readonly {
      readonly specifier: string;
      readonly code?: { readonly specifier?: string };
      readonly type?: { readonly specifier?: string };
    }[];
  }[];
}

const root = new URL("..", import.meta.url).href;

/** The published modules below a folder. */
async function modulesIn(folder: string): Promise<string[]> {
  const modules: string[] = [];
  for await (const entry of Deno.readDir(new URL(folder, root))) {
    if (entry.isDirectory) {
      modules.push(...await modulesIn(`${folder}${entry.name}/`));
    } else modules.push(folder + entry.name);
  }
  return modules.sort();
}

/** The modules that a module and those below it import, types included, as Deno sees it. */
async function importsFrom(module: string): Promise<[string, string[]][]> {
  const { stdout } = await new Deno.Command("deno", {
    args: ["info", "--json", root + module],
  }).output();
  const graph: Graph = JSON.parse(new TextDecoder().decode(stdout));
  return graph.modules.filter(({ specifier }) => specifier.startsWith(root))
    .map(({ specifier, dependencies = [] }) => [
      specifier.replace(root, ""),
      dependencies.map(({ specifier, code, type }) =>
        (code?.specifier ?? type?.specifier ?? specifier).replace(root, "")
      ),
    ]);
}

/** Where a module stands in the list; -1 if it does not. */
function layerOf(module: string): number {
  return LAYERS.findIndex((layer) =>
    layer === module || layer === folderOf(module)
  );
}

function folderOf(module: string): string | undefined {
  return module.slice(0, module.lastIndexOf("/") + 1) || undefined;
}

/** Why a module may not import another; undefined if it may. */
function refuse(module: string, target: string): string | undefined {
  // Adapters are there to know the clients of their brokers, and nobody else is.
  const isAdapter = module.startsWith("adapters/");
  if (isAdapter && /^(npm|node):/.test(target)) return undefined;
  if (
    isAdapter &&
    !/^(adapters\/|core\/(cluster\/(adapter|subscription_queue)\.ts|events\/(errors|error_log)\.ts|util\/))/
      .test(target)
  ) {
    return "which is no business of an adapter";
  }
  // Neither is anybody else to know OpenTelemetry, whose API telemetry is there to use.
  if (
    module.startsWith("telemetry/") &&
    target.startsWith("npm:@opentelemetry/api@")
  ) return undefined;
  const isCommand = module === "cli.ts" || module.startsWith("cli/");
  if (isCommand && target.startsWith("node:")) return undefined;
  if (layerOf(target) < 0) return "which is not in the list";
  if (STRANGERS.includes(module) && STRANGERS.includes(target)) {
    return "which it must not know";
  }
  return layerOf(target) < layerOf(module)
    ? "which stands above it in the list"
    : undefined;
}

const imports = new Map<string, readonly string[]>();

/** The circle of imports that a module is part of, if there is one. */
function circle(
  module: string,
  path: readonly string[] = [],
  seen = new Set<string>(),
): readonly string[] | undefined {
  if (path[0] === module) return [...path, module];
  if (seen.has(module)) return undefined;
  seen.add(module);
  for (const target of imports.get(module) ?? []) {
    const found = circle(target, [...path, module], seen);
    if (found) return found;
  }
  return undefined;
}

const modules = LAYERS.filter((layer) => !layer.endsWith("/"));
for (
  const folder of [
    "core",
    "adapters",
    "debug",
    "inspect",
    "telemetry",
    "testing",
    "cli",
  ]
) {
  modules.push(...await modulesIn(`${folder}/`));
}
const problems: string[] = [];
/** The module that declares a name. */
const declared = new Map<string, string>();
let count = 0;
for (const module of new Set(modules)) {
  if (layerOf(module) < 0) {
    problems.push(
      `${module}: ${
        folderOf(module)
      } is not in the list of tools/imports.ts: add it`,
    );
    continue;
  }
  const source = await Deno.readTextFile(new URL(module, root));
  if (
    module !== RUNTIME &&
    /\bDeno\b/.test(source.replaceAll(COMMENT_OR_STRING, ""))
  ) {
    problems.push(`${module} names Deno, which only ${RUNTIME} may`);
  }
  const names = source.matchAll(DECLARATION).map(([, name = ""]) => name);
  for (const name of new Set(names)) {
    const other = declared.get(name);
    if (other) problems.push(`${module} declares ${name}, as ${other} does`);
    declared.set(name, module);
  }
  if (!imports.has(module)) {
    for (const [name, targets] of await importsFrom(module)) {
      imports.set(name, targets);
    }
  }
  for (const target of imports.get(module) ?? []) {
    count++;
    const why = refuse(module, target);
    if (why) problems.push(`${module} imports ${target}, ${why}`);
  }
}
for (const module of new Set(modules)) {
  const found = circle(module);
  if (found && [...found].sort()[0] === module) {
    problems.push(`${found.join(" > ")}: a circle`);
  }
}
for (const problem of problems) console.error(problem);
console.log(
  `Modules: ${
    new Set(modules).size
  }, imports: ${count}, problems: ${problems.length}`,
);
if (problems.length > 0) Deno.exit(1);
