import { assert, assertEquals } from "@std/assert";
import { FakeTime } from "@std/testing/time";
import type { BroadcastBody } from "../../../core/history/envelope.ts";
import { MemoryStore } from "../../../core/history/message_store.ts";
import { SeededRandom } from "../../support/seeded_random.ts";

const LIMITS = { messages: 100, maxAge: 1_000, maxBytes: 64 * 1024 };

/** A store, and the rooms that it has forgotten. */
function storeOf(limits: Partial<typeof LIMITS> = {}) {
  const forgotten: string[] = [];
  const store = new MemoryStore(
    { ...LIMITS, ...limits },
    (room) => forgotten.push(room),
    () => Date.now(),
  );
  return { store, forgotten };
}

function send(
  store: MemoryStore,
  room: string | undefined,
  body: BroadcastBody,
): number {
  const address = { ...room !== undefined && { rooms: [room] }, except: [] };
  return store.add({ target: address, body, options: {} }).offset;
}

function bodies(store: MemoryStore, room: string, after: number) {
  return store.read([room], after)?.map(({ body }) => body);
}

Deno.test("MemoryStore.read() returns later messages in order", () => {
  using _time = new FakeTime();
  const { store } = storeOf();
  store.roomOpened("a");
  store.roomOpened("b");
  send(store, "a", "1");
  send(store, "b", "2");
  send(store, undefined, "3");
  send(store, "a", "4");
  assertEquals(bodies(store, "a", 0), ["1", "3", "4"]);
  assertEquals(bodies(store, "b", 1), ["2", "3"]);
  assertEquals(store.read(["a", "b"], 4), []);
  store.stop();
});

Deno.test("MemoryStore.read() returns undefined if messages were removed", () => {
  using _time = new FakeTime();
  const { store } = storeOf({ messages: 3 });
  store.roomOpened("a");
  for (const body of ["1", "2", "3", "4"]) send(store, "a", body);
  assertEquals(bodies(store, "a", 1), ["2", "3", "4"]);
  assertEquals(bodies(store, "a", 0), undefined);
  store.stop();
});

Deno.test("MemoryStore limits the bytes of all rooms", () => {
  using _time = new FakeTime();
  const { store, forgotten } = storeOf();
  for (let i = 0; i < 500; i++) {
    store.roomOpened(`room ${i}`);
    for (let j = 0; j < 10; j++) send(store, `room ${i}`, "x".repeat(1_000));
    store.roomClosed(`room ${i}`);
    assert(store.size <= LIMITS.maxBytes, `${store.size}`);
  }
  // The most recent rooms are still there, and those before them are known to be gone.
  assertEquals(bodies(store, "room 499", 4_990)?.length, 10);
  assertEquals(bodies(store, "room 0", 0), undefined);
  assert(forgotten.length > 480);
  store.stop();
});

Deno.test("MemoryStore counts names, overhead and two-byte text", () => {
  using _time = new FakeTime();
  const { store } = storeOf({ maxBytes: Infinity });
  const cost = (action: () => void) => {
    const before = store.size;
    action();
    return store.size - before;
  };
  const room = "r".repeat(1_000);
  assert(cost(() => store.roomOpened(room)) > 1_000);
  const small = cost(() => send(store, room, ""));
  assert(small > 1_000, "the address holds the name");
  assertEquals(cost(() => send(store, room, "x".repeat(100))), small + 100);
  assertEquals(cost(() => send(store, room, "€".repeat(100))), small + 200);
  const bytes = new Uint8Array(100);
  assertEquals(cost(() => send(store, room, bytes)), small + 100 + 256);
  assert(cost(() => send(store, undefined, "")) > 200);
  store.stop();
});

Deno.test("MemoryStore removes messages of the least recently used room", () => {
  using _time = new FakeTime();
  const { store, forgotten } = storeOf();
  for (const room of ["old", "live"]) store.roomOpened(room);
  const first = send(store, "live", "x".repeat(1_000));
  send(store, "old", "x".repeat(20_000));
  send(store, "live", "x".repeat(20_000));
  store.roomOpened("new");
  send(store, "new", "x".repeat(40_000));
  assertEquals(store.read(["old"], 0), undefined);
  assertEquals(store.read(["live"], 0)?.length, 2);
  assertEquals(store.read(["new"], 0)?.length, 1);
  // Nobody has left "old": only its messages are gone, and new ones are stored.
  assertEquals(forgotten, []);
  const next = send(store, "old", "next");
  assertEquals(bodies(store, "old", next - 1), ["next"]);
  assertEquals(first, 1);
  store.stop();
});

Deno.test("MemoryStore removes the oldest messages of a single large room", () => {
  using _time = new FakeTime();
  const { store } = storeOf();
  store.roomOpened("a");
  for (let i = 0; i < 10; i++) send(store, "a", `${i}`.repeat(20_000));
  assert(store.size <= LIMITS.maxBytes);
  assertEquals(bodies(store, "a", 6), undefined);
  assertEquals(bodies(store, "a", 7)?.map((body) => String(body)[0]), [
    "7",
    "8",
    "9",
  ]);
  send(store, "a", "x".repeat(LIMITS.maxBytes));
  assert(store.size <= LIMITS.maxBytes);
  assertEquals(store.read(["a"], 10), undefined);
  store.stop();
});

Deno.test("MemoryStore.read() returns undefined for messages of a removed room", () => {
  using _time = new FakeTime();
  const { store, forgotten } = storeOf();
  store.roomOpened("a");
  const seen = send(store, "a", "seen");
  store.roomClosed("a");
  store.roomOpened("b");
  send(store, "b", "x".repeat(LIMITS.maxBytes)); // removes "a"
  assertEquals(forgotten, ["a"]);
  send(store, "a", "missed, as nobody is there");
  store.roomOpened("a");
  assertEquals(store.read(["a"], seen), undefined);
  assertEquals(store.read(["a"], store.offset), []);
  assertEquals(store.read(["never seen"], 0), undefined, "nobody can tell");
  store.stop();
});

Deno.test("MemoryStore removes old messages by a timer", async () => {
  using time = new FakeTime();
  const { store, forgotten } = storeOf();
  const empty = store.size;
  await time.tickAsync(100_000);
  store.roomOpened("a");
  send(store, "a", "x");
  send(store, undefined, "x");
  store.roomClosed("a");
  await time.tickAsync(1_999);
  assertEquals(store.read(["a"], 0)?.length, 2, "stored for twice maxAge");
  await time.tickAsync(1_001);
  assertEquals(store.size, empty);
  assertEquals(forgotten, ["a"]);
  assertEquals(store.read(["a"], 0), undefined);
  assertEquals(
    await time.nextAsync(),
    false,
    "no timer while nothing is stored",
  );
  store.stop();
});

Deno.test("MemoryStore.stop() stops the timer", async () => {
  using time = new FakeTime();
  const { store } = storeOf();
  store.roomOpened("a");
  send(store, "a", "x");
  store.stop();
  send(store, "a", "y");
  assertEquals(await time.nextAsync(), false);
});

Deno.test("MemoryStore.read() never omits a message silently", () => {
  for (let seed = 0; seed < 100; seed++) {
    using time = new FakeTime();
    const seeded = new SeededRandom(seed);
    const { store } = storeOf({ messages: 8, maxBytes: 8_000 });
    const sent: { offset: number; room: string | undefined }[] = [];
    const names = ["a", "b", "c", "d"];
    const occupied = new Set<string>();
    // All was sent while somebody might come back, so nothing may be missing in silence.
    for (let step = 0; step < 200; step++) {
      const room = names[seeded.integer(names.length)] ?? "a";
      const action = seeded.integer(10);
      if (action < 2) {
        store.roomOpened(room);
        occupied.add(room);
      } else if (action < 4) {
        if (occupied.delete(room)) store.roomClosed(room);
      } else if (action < 8) {
        const to = seeded.integer(5) === 0 ? undefined : room;
        const offset = send(store, to, "x".repeat(seeded.integer(2_000)));
        sent.push({ offset, room: to });
      } else if (action === 8) time.tick(seeded.integer(1_500));
      else {
        const after = seeded.integer(store.offset + 1);
        const found = store.read([room], after)?.map(({ offset }) => offset);
        if (found === undefined) continue;
        const missed = sent.filter((one) =>
          one.offset > after && (one.room ?? room) === room
        ).map(({ offset }) => offset);
        assertEquals(found, missed, `seed ${seed}`);
      }
      assert(store.size <= 8_000 + 1_000, `seed ${seed}`);
    }
    store.stop();
  }
});
