/**
 * What single steps cost: `deno bench bench/micro.ts`.
 *
 *     deno task bench:micro [--update]
 *
 * compares them with `bench/baseline.json`, each as a multiple of a loop that is
 * measured beside it, so that a faster or slower machine does not matter. It fails
 * if a step takes 1.3 times as long; what seems to is measured again first.
 */

import "../core/features/full.ts";
import type { Connection } from "../core/connection/connection.ts";
import { decodeText, encodeValue } from "../core/values/codec.ts";
import { Emitter, emitters } from "../core/events/emitter.ts";
import { DrainEvent } from "../core/events/event_types.ts";
import { decodeFrame } from "../core/protocol/frame_decoder.ts";
import {
  encodeAddressed,
  encodeCredit,
  encodeTextBatch,
} from "../core/protocol/frames.ts";
import { Rooms } from "../core/rooms/rooms.ts";
import {
  createFixture,
  FakeOwner,
  FakeSocket,
} from "../tests/support/fake_socket.ts";

const CALIBRATION = "calibration";
/** How much slower a step may be. */
const TOLERANCE = 1.3;
/** How often what is too slow is measured again. */
const RETRIES = 2;
const BASELINE = new URL("baseline.json", import.meta.url);

const TEXT = '{"type":"chat","text":"hello there, how are you doing?","n":123}';
const VALUE = { type: "chat", text: "hello there, how are you doing?", n: 123 };
const BURST = Array.from({ length: 8 }, () => TEXT);

class Bell extends Emitter<{ drain: { args: []; event: DrainEvent } }> {
  constructor() {
    super();
    emitters.attach(this, { names: new Set(["drain"]), failed: () => {} });
  }

  ring(): void {
    emitters.emit(this, "drain", DrainEvent, []);
  }
}

/** A socket that forgets what it sends. */
class QuietSocket extends FakeSocket {
  override send(): void {}
}

/** A hub that forgets what it hears. */
class QuietHub extends FakeOwner {
  override received(): void {}
}

/** An open connection whose peer takes all that comes. */
function connect(protocol: string): [Connection, QuietSocket] {
  const socket = new QuietSocket();
  socket.protocol = protocol;
  const { connection } = createFixture(
    "server",
    { socket },
    new QuietHub(true),
  );
  socket.open();
  if (protocol) socket.receive(encodeCredit(Number.MAX_SAFE_INTEGER));
  return [connection, socket];
}

/**
 * Waits for the next turn of the event loop. Without turns, a connection lets what it
 * receives wait for the next one, and all later steps would pay for what has piled up.
 */
function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

function declare(): void {
  const numbers = new Map<string, number>();
  Deno.bench(CALIBRATION, () => {
    for (let i = 0; i < 100; i++) numbers.set(`key ${i & 15}`, i);
    JSON.parse(TEXT);
  });

  const heard = new Bell();
  let count = 0;
  heard.on("drain", () => count++);
  Deno.bench("emit to a listener of on()", () => heard.ring());
  const handled = new Bell();
  handled.addEventListener("drain", () => count++);
  Deno.bench("emit to addEventListener()", () => handled.ring());

  Deno.bench("encode a value", () => void encodeValue(VALUE));
  Deno.bench("decode a text", () => void decodeText(TEXT));

  const [plain, plainSocket] = connect("");
  const [own, ownSocket] = connect("events.v1");
  Deno.bench("send one, plain", async () => await plain.send(TEXT));
  Deno.bench("send one, events.v1", async () => await own.send(TEXT));
  Deno.bench("send 8 in a turn, events.v1", async () => {
    for (const text of BURST.slice(1)) own.send(text);
    await own.send(TEXT);
  });
  const batch = encodeTextBatch(BURST);
  Deno.bench("receive 1,000, plain", async () => {
    for (let i = 0; i < 1_000; i++) plainSocket.receive(TEXT);
    await turn();
  });
  Deno.bench("receive 100 batches of 8, events.v1", async () => {
    for (let i = 0; i < 100; i++) ownSocket.receive(batch);
    await turn();
  });

  const request = `${encodeAddressed("request", 7, TEXT)}`;
  Deno.bench("read a request", () => void decodeFrame(request));
  Deno.bench("read a batch of 8", () => void decodeFrame(batch));
  Deno.bench("write a request", () => void encodeAddressed("request", 7, TEXT));
  Deno.bench("write a batch of 8", () => void encodeTextBatch(BURST));

  const rooms = new Rooms<object>();
  const members = Array.from({ length: 1_000 }, () => ({}));
  const [first = {}] = members;
  for (const member of members) rooms.join(member, "all");
  Deno.bench("join a room, and leave it", () => {
    rooms.join(first, "other");
    rooms.leave(first, "other");
  });
  Deno.bench("select 999 of a room of 1,000", () => {
    rooms.select([rooms.membersOf("all")], [first]);
  });
}

/** What `deno bench --json` writes, as far as it is read here. */
interface Report {
  readonly benches: readonly {
    readonly name: string;
    readonly results: readonly { readonly ok?: { readonly min: number } }[];
  }[];
}

type Ratios = Record<string, number>;

/** Measures all steps, as multiples of the calibration. */
function measure(): Ratios {
  const { success, stdout, stderr } = new Deno.Command(Deno.execPath(), {
    args: ["bench", "--json", import.meta.filename ?? ""],
  }).outputSync();
  const decoder = new TextDecoder();
  if (!success) throw new Error(decoder.decode(stderr));
  const { benches }: Report = JSON.parse(decoder.decode(stdout));
  // The least, as other programs only ever make it more.
  const times = new Map(
    benches.map(({ name, results }) => [name, results[0]?.ok?.min ?? NaN]),
  );
  const unit = times.get(CALIBRATION) ?? NaN;
  times.delete(CALIBRATION);
  return Object.fromEntries(
    [...times].map((
      [name, time],
    ) => [name, Number((time / unit).toPrecision(4))]),
  );
}

/** The lesser of each. */
function best(one: Ratios, other: Ratios): Ratios {
  return Object.fromEntries(
    Object.entries(one).map(([name, ratio]) => [
      name,
      Math.min(ratio, other[name] ?? ratio),
    ]),
  );
}

/** The steps that are too slow. */
function slowOnes(measured: Ratios, baseline: Ratios): string[] {
  return Object.keys(measured).filter((name) =>
    (measured[name] ?? NaN) > TOLERANCE * (baseline[name] ?? Infinity)
  );
}

function update(): void {
  let measured = measure();
  for (let i = 0; i < RETRIES; i++) measured = best(measured, measure());
  Deno.writeTextFileSync(BASELINE, `${JSON.stringify(measured, null, 2)}\n`);
}

/** Compares, prints, and tells whether all is as fast as it was. */
function compare(): boolean {
  const baseline: Ratios = JSON.parse(Deno.readTextFileSync(BASELINE));
  let measured = measure();
  for (let i = 0; i < RETRIES && slowOnes(measured, baseline).length; i++) {
    measured = best(measured, measure());
  }
  console.log("multiples of the calibration: now, baseline, ratio");
  const slow = slowOnes(measured, baseline);
  for (const [name, ratio] of Object.entries(measured)) {
    const before = baseline[name];
    const shown = before === undefined
      ? "new"
      : `${before.toPrecision(4).padStart(8)} ${(ratio / before).toFixed(2)} x${
        slow.includes(name) ? ", too slow" : ""
      }`;
    console.log(
      `${name.padEnd(34)} ${ratio.toPrecision(4).padStart(8)} ${shown}`,
    );
  }
  return slow.length === 0;
}

// `deno bench` gives no arguments.
if (Deno.args.includes("--update")) update();
else if (Deno.args.includes("compare")) Deno.exitCode = compare() ? 0 : 1;
else declare();
