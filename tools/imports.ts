// Checks which module imports which: of the published modules, each may import
// only what stands below it in the list. So there is no circle either.

/** The published modules, from the top down. */
const ORDER: readonly string[] = [
  "telemetry.ts",
  "telemetry/watch.ts",
  "telemetry/calls.ts",
  "telemetry/meters.ts",
  "inspect.ts",
  "inspect/state.ts",
  "inspect/history.ts",
  "inspect/page.ts",
  "testing.ts",
  "mod.ts",
  "server.ts",
  "client.ts",
  "core/public.ts",
  "testing/link.ts",
  "testing/socket.ts",
  "adapters/broadcast_channel.ts",
  "adapters/redis.ts",
  "adapters/nats.ts",
  "core/relay.ts",
  "core/fleet.ts",
  "core/presence.ts",
  "core/journal.ts",
  "core/adapter.ts",
  "core/audience.ts",
  "core/recovery.ts",
  "core/history.ts",
  "core/ripening.ts",
  "core/envelope.ts",
  "core/connection.ts",
  "core/bookmark.ts",
  "core/listener.ts",
  "core/admission.ts",
  "core/address.ts",
  "core/handshake.ts",
  "core/manner.ts",
  "core/sender.ts",
  "core/flow.ts",
  "core/exchange.ts",
  "core/question.ts",
  "core/requests.ts",
  "core/gate.ts",
  "core/backlog.ts",
  "core/packer.ts",
  "core/pause.ts",
  "core/silence.ts",
  "core/socket.ts",
  "core/handlers.ts",
  "message.ts",
  "core/types.ts",
  "core/schema.ts",
  "core/subprotocol.ts",
  "core/ending.ts",
  "core/inbox.ts",
  "core/turns.ts",
  "core/outbox.ts",
  "core/rate.ts",
  "core/rooms.ts",
  "core/retry_after.ts",
  "core/backoff.ts",
  "core/frames.ts",
  "core/codec.ts",
  "core/emitter.ts",
  "core/event_queue.ts",
  "core/clock.ts",
  "core/probe.ts",
  "core/events.ts",
  "core/errors.ts",
  "core/random_name.ts",
  "core/timer.ts",
];

/** Stand one above the other in the list, but do not know each other. */
const STRANGERS = ["server.ts", "client.ts"];

/** The only published module that names the global `Deno`. */
const RUNTIME = "core/listener.ts";

const COMMENT_OR_STRING = /\/\*[^]*?\*\/|\/\/.*|"(?:\\.|[^"\\\n])*"/g;

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

/** The modules that a module imports, types included, as Deno itself sees it. */
async function importsOf(module: string): Promise<string[]> {
  const { stdout } = await new Deno.Command("deno", {
    args: ["info", "--json", root + module],
  }).output();
  const graph: Graph = JSON.parse(new TextDecoder().decode(stdout));
  const self = graph.modules.find(({ specifier }) =>
    specifier === root + module
  );
  return (self?.dependencies ?? []).map(({ specifier, code, type }) =>
    (code?.specifier ?? type?.specifier ?? specifier).replace(root, "")
  );
}

/** Why a module may not import another; undefined if it may. */
function refuse(module: string, target: string): string | undefined {
  // Adapters are there to know the clients of their brokers, and nobody else is.
  const isAdapter = module.startsWith("adapters/");
  if (isAdapter && /^(npm|node):/.test(target)) return undefined;
  if (isAdapter && !/^core\/(adapter|errors)\.ts$/.test(target)) {
    return "which is no business of an adapter";
  }
  // Neither is anybody else to know OpenTelemetry, whose API telemetry is there to use.
  if (
    module.startsWith("telemetry/") &&
    target.startsWith("npm:@opentelemetry/api@")
  ) return undefined;
  if (!ORDER.includes(target)) return "which is not in the list";
  if (STRANGERS.includes(module) && STRANGERS.includes(target)) {
    return "which it must not know";
  }
  return ORDER.indexOf(target) <= ORDER.indexOf(module)
    ? "which does not stand below it in the list"
    : undefined;
}

const problems: string[] = [];
for (const folder of ["core", "adapters", "inspect", "telemetry", "testing"]) {
  for await (const { name } of Deno.readDir(new URL(folder, root))) {
    if (!ORDER.includes(`${folder}/${name}`)) {
      problems.push(
        `${folder}/${name} is not in the list of tools/imports.ts: add it`,
      );
    }
  }
}
let count = 0;
for (const module of ORDER) {
  const source = await Deno.readTextFile(new URL(module, root));
  if (
    module !== RUNTIME &&
    /\bDeno\b/.test(source.replaceAll(COMMENT_OR_STRING, ""))
  ) {
    problems.push(`${module} names Deno, which only ${RUNTIME} may`);
  }
  for (const target of await importsOf(module)) {
    count++;
    const why = refuse(module, target);
    if (why) problems.push(`${module} imports ${target}, ${why}`);
  }
}

for (const problem of problems) console.error(problem);
console.log(
  `Modules: ${ORDER.length}, imports: ${count}, problems: ${problems.length}`,
);
if (problems.length > 0) Deno.exit(1);
