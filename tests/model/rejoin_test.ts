/**
 * Clients that come back, and join their rooms again at every moment that there is:
 * whenever `recovery` says `true`, all that was sent has been received.
 */

import { assert, assertEquals } from "@std/assert";
import { delay } from "@std/async";
import { FakeTime } from "@std/testing/time";
import { ClientSocket, type Connection, ServerSocket } from "../../mod.ts";
import { advance, MemoryNetwork, settle } from "../../testing.ts";
import { SeededRandom } from "../support/seeded_random.ts";
import { FakeBroker } from "../support/fake_broker.ts";

/** When a room is joined by a client that has come back. */
const MOMENTS = [
  "in connect",
  "a turn later",
  "after 500 ms",
  "after 1,500 ms",
  "by a request at once",
  "by a request after 3,000 ms",
  "left and joined again",
  "after 12,000 ms",
  "never",
] as const;
type Moment = typeof MOMENTS[number];

const ROOMS = ["a", "b"];
const KEPT = 40;

/** One client that loses its connection, and comes back. */
async function run(
  moments: readonly Moment[],
  isStored: boolean,
  missed: number,
  time: FakeTime,
): Promise<void> {
  const name = `${moments}, ${isStored ? "broker" : "memory"}, ${missed}`;
  const broker = new FakeBroker(new SeededRandom(missed + 1));
  const link = broker.link();
  link.messages = KEPT;
  const server = new ServerSocket({
    history: { messages: KEPT },
    ...isStored && { adapter: link },
  });
  let isBack = false;
  const enter = async (client: Connection, room: string, moment: Moment) => {
    if (moment === "a turn later") await Promise.resolve();
    if (moment === "after 500 ms") await delay(500);
    if (moment === "after 1,500 ms") await delay(1_500);
    if (moment === "after 12,000 ms") await delay(12_000);
    if (/by a request|never/.test(moment)) return;
    if (client.readyState !== 1) return;
    client.join(room);
    if (moment !== "left and joined again") return;
    client.leave(room);
    await delay(200);
    client.join(room);
  };
  server.on("connect", async (client, path) => {
    if (path === "/other") return ROOMS.forEach((room) => client.join(room));
    await Promise.all(
      ROOMS.map((room, i) =>
        enter(client, room, isBack && moments[i] || "in connect")
      ),
    );
  });
  server.handle(({ author, data }) => {
    author.join(String(data));
    return "joined";
  });
  await using network = new MemoryNetwork(server);
  if (isStored) link.reach();
  const move = async (ms = 0) => {
    for (let i = 0; i < 20; i++) {
      while (broker.move()) await settle();
      await settle();
    }
    if (ms > 0) await advance(time, ms);
    while (broker.move()) await settle();
  };
  const other = new ClientSocket();
  const client = new ClientSocket({
    reconnect: { initialDelay: 50, maxDelay: 50 },
  });
  const heard: string[] = [];
  const sent: string[] = [];
  const told: boolean[] = [];
  const faults: unknown[] = [];
  client.on("error", (error) => faults.push(error));
  client.on("message", ({ content }) => {
    assert(!heard.includes(content), `${name}: ${content} twice`);
    heard.push(content);
  });
  client.on("recovery", (recovered) => {
    told.push(recovered);
    if (!recovered) return;
    for (const text of before) {
      assert(heard.includes(text), `${name}: true, but ${text} was missed`);
    }
  });
  await Promise.all([
    client.connect(`${network.url}/own`),
    other.connect(`${network.url}/other`),
    move(),
  ]);
  await move();
  let count = 0;
  const send = async () => {
    for (const room of ROOMS) {
      sent.push(`${room} ${++count}`);
      server.to(room).send(`${room} ${count}`);
    }
    sent.push(`both ${++count}`);
    server.to(...ROOMS).send(`both ${count}`);
    sent.push(`all ${++count}`);
    server.broadcast(`all ${count}`);
    await move();
  };
  await send();
  let before: readonly string[] = [];
  assertEquals(heard, sent, name);
  // It is cut off, and something is sent.
  isBack = true;
  const [own] = [...server.clients].filter(({ path }) => path === "/own");
  assert(own);
  own.terminate();
  await settle();
  for (let n = 0; n < missed; n++) await send();
  before = sent.slice();
  await move(60);
  assert(client.connection, name);
  for (const [i, moment] of moments.entries()) {
    const room = ROOMS[i] ?? "";
    if (moment === "by a request at once") {
      client.request(room).catch(() => {});
    }
    if (moment === "by a request after 3,000 ms") {
      delay(3_000).then(() => client.request(room)).catch(() => {});
    }
  }
  for (const ms of [0, 400, 400, 400, 600, 1_600, 400]) {
    await move(ms);
    await send();
  }
  await move(10_000);
  await send();
  const isMissed = 2 * missed > KEPT;
  const isLate = moments.some((moment) => /never|12,000/.test(moment));
  assertEquals(faults, [], name);
  assertEquals(told, [!isMissed && !isLate], name);
  for (const room of [...ROOMS, "both", "all"]) {
    const own = heard.filter((text) => text.startsWith(`${room} `));
    const sorted = sent.filter((text) => own.includes(text));
    assertEquals(own, sorted, `${name}: the order of ${room}`);
    if (told[0]) {
      const all = sent.filter((text) => text.startsWith(`${room} `));
      const isWhole = !/never|left|12,000/.test(`${moments}`);
      if (isWhole) assertEquals(own, all, `${name}: all of ${room}`);
    }
  }
  const closing = [client.close(), other.close(), server.close()];
  await move(1_000);
  await Promise.all(closing);
}

for (const isStored of [false, true]) {
  Deno.test(`recovery is true only if nothing was missed, ${isStored ? "with a broker" : "in memory"}, whenever rooms are joined`, async () => {
    for (const first of MOMENTS) {
      for (const second of MOMENTS) {
        for (const missed of [0, 2, 30]) {
          using time = new FakeTime();
          await run([first, second], isStored, missed, time);
        }
      }
    }
  });
}
