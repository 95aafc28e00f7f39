// Writes `deno.jsr.json`: the configuration without the links, so that the
// standard library comes from JSR, and with a `test` task that uses it.

const config = JSON.parse(await Deno.readTextFile("deno.json"));
delete config.links;
config.lock = false;
config.exclude = ["tools/std/"];
config.tasks.test.command = config.tasks.test.command.replace(
  "deno test ",
  "deno test --config=deno.jsr.json ",
);
await Deno.writeTextFile(
  "deno.jsr.json",
  JSON.stringify(config, undefined, 2) + "\n",
);
