import {
  assert,
  assertEquals,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import { assertRoom, Rooms } from "../../../core/rooms/rooms.ts";
import { ServerSocket } from "../../../server.ts";
import { busyFor } from "../../support/busy.ts";
import { SeededRandom } from "../../support/seeded_random.ts";

/** Somebody with a name. */
class Member {
  constructor(readonly name: string) {}
}

const ada = new Member("ada");
const grace = new Member("grace");
const edith = new Member("edith");

Deno.test("Rooms indexes members and rooms", () => {
  const rooms = new Rooms<Member>();
  rooms.join(ada, "lobby");
  rooms.join(grace, "lobby");
  rooms.join(ada, "garden");
  rooms.join(ada, "lobby");
  assertEquals([...rooms.membersOf("lobby")], [ada, grace]);
  assertEquals([...rooms.membersOf("garden")], [ada]);
  assertEquals([...rooms.roomsOf(ada)], ["lobby", "garden"]);
  assertEquals([...rooms.all.keys()], ["lobby", "garden"]);
  assertEquals([...rooms.membersOf("kitchen")], []);
  assertEquals([...rooms.roomsOf(edith)], []);
});

Deno.test("Rooms removes empty rooms", () => {
  const rooms = new Rooms<Member>();
  rooms.join(ada, "lobby");
  rooms.join(grace, "lobby");
  rooms.leave(ada, "lobby");
  rooms.leave(ada, "lobby");
  rooms.leave(edith, "lobby");
  rooms.leave(ada, "nowhere");
  assertEquals([...rooms.membersOf("lobby")], [grace]);
  rooms.leave(grace, "lobby");
  assertEquals([...rooms.all.keys()], []);
  assertEquals([...rooms.roomsOf(grace)], []);
});

Deno.test("Rooms.leaveAll() removes a member and remembers its rooms", () => {
  const rooms = new Rooms<Member>();
  rooms.join(ada, "lobby");
  rooms.join(ada, "garden");
  rooms.join(grace, "garden");
  rooms.leaveAll(ada);
  rooms.leaveAll(edith);
  assertEquals([...rooms.all.keys()], ["garden"]);
  assertEquals([...rooms.membersOf("garden")], [grace]);
  assertEquals([...rooms.roomsOf(ada)], ["lobby", "garden"]);
  assertEquals([...rooms.roomsOf(edith)], []);
});

Deno.test("Rooms.select() returns each member once without excluded ones", () => {
  const rooms = new Rooms<Member>();
  for (const member of [ada, grace]) rooms.join(member, "lobby");
  for (const member of [grace, edith]) rooms.join(member, "garden");
  const groups = ["lobby", "garden"].map((room) => rooms.membersOf(room));
  assertEquals(rooms.select(groups, []), [ada, grace, edith]);
  assertEquals(rooms.select(groups, [edith]), [ada, grace]);
  assertEquals(rooms.select(groups, ["garden"]), [ada]);
  assertEquals(rooms.select(groups, ["lobby", edith]), []);
  assertEquals(rooms.select(groups.slice(0, 1), ["nowhere"]), [ada, grace]);
  assertEquals(rooms.select([], [ada]), []);
});

Deno.test("Rooms.select() returns a new list", () => {
  const rooms = new Rooms<Member>();
  rooms.join(ada, "lobby");
  const list = rooms.select([rooms.membersOf("lobby")], []);
  rooms.join(grace, "lobby");
  rooms.leave(ada, "lobby");
  assertEquals(list, [ada]);
});

Deno.test("Rooms keeps both indexes consistent", () => {
  const seeded = new SeededRandom(20261123);
  const rooms = new Rooms<Member>();
  const members = Array.from(Array(20), (_, i) => new Member(`${i}`));
  const names = Array.from(Array(10), (_, i) => `room ${i}`);
  const expected = new Map(
    members.map((member) => [member, new Set<string>()]),
  );
  for (let i = 0; i < 5_000; i++) {
    const member = seeded.pick(members);
    const room = seeded.pick(names);
    if (seeded.integer(5) < 3) {
      rooms.join(member, room);
      expected.get(member)?.add(room);
    } else {
      rooms.leave(member, room);
      expected.get(member)?.delete(room);
    }
  }
  for (const [member, own] of expected) {
    assertEquals(new Set(rooms.roomsOf(member)), own);
    for (const name of names) {
      assertStrictEquals(rooms.membersOf(name).has(member), own.has(name));
    }
  }
});

Deno.test("assertRoom() accepts any non-empty text", () => {
  for (const name of ["lobby", " ", "__proto__", "\0", "🙂"]) {
    assertRoom("join", name);
  }
  assertThrows(
    () => assertRoom("join", ""),
    TypeError,
    'Cannot join a room unless its name is a string that is not empty: current value is ""',
  );
  // @ts-expect-error No text
  assertThrows(() => assertRoom("join", 7), TypeError, "7");
  // @ts-expect-error No text
  assertThrows(() => assertRoom("leave", undefined), TypeError, "leave");
});

Deno.test("assertRoom() rejects names that are not well-formed", () => {
  // Another server would read U+FFFD, and all such names would be one room.
  for (const name of ["\ud800", "a\udc00", "\udc00\ud800"]) {
    assertThrows(() => assertRoom("join", name), TypeError, "well-formed");
    const server = new ServerSocket();
    assertThrows(() => server.to(name), TypeError, "well-formed");
    assertThrows(() => server.to("a").except(name), TypeError, "well-formed");
  }
  assertRoom("join", "\ud83d\ude42");
});

Deno.test("assertRoom() rejects names longer than 1,024 bytes", () => {
  for (const name of ["x".repeat(1024), "é".repeat(512), "€".repeat(341)]) {
    assertRoom("join", name);
  }
  for (const name of ["x".repeat(1025), "é".repeat(513), "€".repeat(342)]) {
    const { message } = assertThrows(
      () => assertRoom("join", name),
      RangeError,
      "Cannot join a room whose name is longer than 1024 bytes",
    );
    assert(message.length < 200, message);
  }
});

Deno.test("Rooms.leaveAll() leaves many rooms in slices of the event loop", async () => {
  const member = {};
  let left = 0;
  let closed = 0;
  const rooms = new Rooms<object>({
    opened() {},
    joined() {},
    left() {
      busyFor(1);
      left++;
    },
    closed: () => closed++,
  });
  const names = Array.from({ length: 60 }, (_, i) => `room ${i}`);
  for (const name of names) rooms.join(member, name);
  const done = rooms.leaveAll(member);
  assert(left > 0 && left < 30, `${left} at once`);
  assertEquals([...rooms.roomsOf(member)], names);
  let turns = 0;
  const timer = setInterval(() => turns++, 0);
  await done;
  clearInterval(timer);
  assert(turns > 0, "the event loop has stood still");
  assertEquals([left, closed, rooms.all.size], [60, 60, 0]);
  assertEquals([...rooms.roomsOf(member)], names);
});

Deno.test("Rooms.leaveAll() leaves a few rooms at once", () => {
  const member = {};
  const rooms = new Rooms<object>();
  rooms.join(member, "a");
  assertEquals(rooms.leaveAll(member), undefined);
  assertEquals(rooms.all.size, 0);
  assertEquals(rooms.leaveAll(member), undefined);
});
