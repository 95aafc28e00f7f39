/** What `examples/deploy/` says is done, in a folder of its own. */

import {
  assertEquals,
  assertMatch,
  assertRejects,
  assertStrictEquals,
} from "@std/assert";
import { ClientSocket, ConnectError } from "../../client.ts";
import { freePort } from "../support/daemon.ts";
import { lacksPermission } from "../support/permissions.ts";
import { lacksProgram } from "../support/programs.ts";
import { Program } from "../support/program.ts";
import { RawPeer } from "../support/raw_peer.ts";

const ignore = await lacksPermission("net", "run", "read", "write", "env");
const lacksSystemd = await lacksProgram("systemd-analyze");
const lacksShell = await lacksProgram("sh");

function test(
  name: string,
  fn: () => Promise<void>,
  isMissing: boolean,
): void {
  Deno.test({ name, ignore: ignore || isMissing, fn });
}

function read(file: string): Promise<string> {
  const url = new URL(`../../examples/deploy/${file}`, import.meta.url);
  return Deno.readTextFile(url);
}

/** Does something to the end. */
async function run(
  [command = "", ...args]: readonly string[],
  cwd: string,
): Promise<{ code: number; text: string }> {
  const { code, stdout, stderr } = await new Deno.Command(command, {
    args,
    cwd,
    stdin: "null",
    env: { NO_COLOR: "1" },
  }).output();
  const decoder = new TextDecoder();
  return { code, text: decoder.decode(stdout) + decoder.decode(stderr) };
}

/** A folder with the server, as one has it who has added the package and locked it. */
async function folder() {
  const path = await Deno.makeTempDir();
  const imports = { "@ws/events": new URL("../../mod.ts", import.meta.url) };
  await Deno.writeTextFile(`${path}/deno.json`, JSON.stringify({ imports }));
  await Deno.writeTextFile(`${path}/server.ts`, await read("server.ts"));
  await Deno.writeTextFile(`${path}/deno.lock`, '{ "version": "5" }\n');
  return {
    path,
    async [Symbol.asyncDispose]() {
      await Deno.remove(path, { recursive: true });
    },
  };
}

/** Ends a program by SIGTERM while a client is slow to say goodbye. */
async function leaves(program: Program, port: number): Promise<void> {
  await program.line("Listening at ");
  const url = `ws://127.0.0.1:${port}/live`;
  const http = `http://127.0.0.1:${port}/healthz`;
  const clients = [new ClientSocket(), new ClientSocket()];
  for (const client of clients) await client.connect(url);
  using slow = await RawPeer.open(port, "/live");
  const well = await fetch(http);
  assertEquals(
    [well.status, await well.text()],
    [200, "well, with 3 clients\n"],
  );
  const closed = clients.map((client) => client.waitFor("close"));
  program.kill("SIGTERM");
  for (const end of await Promise.all(closed)) {
    assertEquals(end, [1001, "retry-after=1", "peer"]);
  }
  assertStrictEquals(await slow.end(), "1001 retry-after=1");
  const leaving = await fetch(http);
  assertEquals([leaving.status, await leaving.text()], [503, "leaving\n"]);
  await assertRejects(() => new ClientSocket().connect(url), ConnectError);
  slow.close();
  await program.line("Closed.");
  assertStrictEquals(await program.exit(), 0);
}

test(
  "deploy starts and stops the server with the systemd unit",
  async () => {
    await using here = await folder();
    const port = freePort();
    // Here it is somewhere else, and nothing is to be served at /srv.
    const unit = (await read("live@.service"))
      .replace("/usr/local/bin/deno", Deno.execPath());
    const file = `${here.path}/live@${port}.service`;
    await Deno.writeTextFile(file, unit);
    const verified = await run(["systemd-analyze", "verify", file], here.path);
    assertEquals(verified, { code: 0, text: "" });

    const start = /^ExecStart=(.*)$/m.exec(unit)?.[1] ?? "";
    const [command = "", ...args] = start.replaceAll("%i", `${port}`).split(
      " ",
    );
    await using program = new Program(args, { command, cwd: here.path });
    await leaves(program, port);
  },
  lacksSystemd,
);

test(
  "deploy rejects a unit with faults by systemd-analyze",
  async () => {
    await using here = await folder();
    const file = `${here.path}/live@1.service`;
    const unit = (await read("live@.service")).replace(
      "MemoryMax",
      "MemoryMost",
    );
    await Deno.writeTextFile(file, unit);
    const { text } = await run(["systemd-analyze", "verify", file], here.path);
    assertMatch(text, /Unknown key 'MemoryMost'/);
  },
  lacksSystemd,
);

test("deploy has a container whose commands work", async () => {
  await using here = await folder();
  await using image = await folder();
  const port = freePort();
  // On loopback only, and at a port that is free.
  const file = (await read("Dockerfile"))
    .replaceAll("3001", `${port}`).replaceAll("0.0.0.0", "127.0.0.1");
  const line = (start: RegExp) =>
    file.split("\n").find((line) => start.test(line))?.replace(start, "") ?? "";

  // It has what is copied, and nothing else.
  for (const { name } of Deno.readDirSync(image.path)) {
    await Deno.remove(`${image.path}/${name}`);
  }
  const [to = "", ...copied] = line(/^COPY /).split(" ").toReversed();
  assertStrictEquals(to, "./");
  for (const name of copied) {
    await Deno.copyFile(`${here.path}/${name}`, `${image.path}/${name}`);
  }
  const built = await run(["sh", "-c", line(/^RUN /)], image.path);
  assertStrictEquals(built.code, 0, built.text);

  const health: string[] = JSON.parse(line(/^HEALTHCHECK CMD /));
  assertStrictEquals((await run(health, image.path)).code, 1);
  const [, ...args]: string[] = JSON.parse(line(/^CMD /));
  await using program = new Program(args, { cwd: image.path });
  await program.line("Listening at ");
  assertStrictEquals((await run(health, image.path)).code, 0);
  program.kill("SIGTERM");
  await program.line("Closed.");
  assertStrictEquals(await program.exit(), 0);
}, lacksShell);
