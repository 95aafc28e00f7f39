/**
 * Tests of the chat, without a port or a permission:
 *
 *     deno test examples/testing/
 */

import { assertEquals } from "@std/assert";
import { FakeTime } from "@std/testing/time";
import { ClientSocket } from "@ws/events/client";
import { advance, MemoryNetwork, settle } from "@ws/events/testing";
import { makeChat, type News } from "./chat.ts";

Deno.test("what one says, the others in the room hear", async () => {
  await using server = makeChat();
  await using network = new MemoryNetwork(server);
  await using ada = new ClientSocket();
  await using grace = new ClientSocket<{ incoming: News }>();
  await ada.connect(`${network.url}/lobby`);
  await grace.connect(`${network.url}/lobby`);
  const heard = grace.waitFor("message");
  ada.send("hello");
  assertEquals((await heard)[0].data, { said: "hello" });
});

Deno.test("what was said elsewhere, nobody hears", async () => {
  await using server = makeChat();
  await using network = new MemoryNetwork(server);
  await using ada = new ClientSocket();
  await using grace = new ClientSocket();
  const heard: string[] = [];
  grace.on("message", ({ content }) => heard.push(content));
  await ada.connect(`${network.url}/lobby`);
  await grace.connect(`${network.url}/garden`);
  ada.send("hello");
  await settle(); // nothing is under way any more
  assertEquals(heard, []);
});

Deno.test("the others are told of one who is gone without a word", async () => {
  using time = new FakeTime();
  await using server = makeChat();
  await using network = new MemoryNetwork(server);
  await using ada = new ClientSocket();
  await using grace = new ClientSocket();
  await ada.connect(`${network.url}/lobby`);
  network.link.vanish("client"); // the last one to connect
  await grace.connect(`${network.url}/lobby`);
  const heard = grace.waitFor("message");
  await advance(time, 10_000);
  assertEquals((await heard)[0].data, { left: "127.0.0.1:49152" });
});
