// Writes the reference of all entry points to `.doc/`, as pages.

const { name, exports } = JSON.parse(await Deno.readTextFile("deno.json"));
const modules = Object.values<string>(exports);
const { success } = await new Deno.Command("deno", {
  args: ["doc", "--html", `--name=${name}`, "--output=.doc", ...modules],
}).spawn().status;
if (!success) Deno.exit(1);
