/**
 * The attacker of `trials/flood.ts` and the members of the room that hears it, in a
 * process of their own. Its arguments are the port, the name of the attack, and its
 * seconds. For each line of its input, it attacks once, and prints whether the server
 * ended the connection.
 */

import { deadline, delay } from "@std/async";
import { RawPeer } from "../tests/support/raw_peer.ts";
import { type Attack, ATTACKS, drain } from "./attacks.ts";

const MEMBERS = 30;

async function attack(
  port: number,
  attack: Attack,
  seconds: number,
): Promise<boolean> {
  const protocol = attack.plain ? undefined : "events.v1";
  using peer = await RawPeer.open(port, "/", protocol);
  let isEnded = false;
  const reading = attack.reads === false
    ? undefined
    : drain(peer).then(() => isEnded = true);
  const end = performance.now() + seconds * 1000;
  if (attack.first) await peer.write(attack.first);
  while (performance.now() < end && !isEnded) {
    if (!attack.again) await delay(10);
    else if (!await deadline(peer.write(attack.again), 30_000)) break;
  }
  const wasEnded = isEnded || performance.now() < end;
  peer.close();
  await reading;
  return wasEnded;
}

const [port, name, seconds] = Deno.args;
const chosen = ATTACKS.find((one) => one.name === name);
if (!chosen) throw new RangeError(`Cannot make the attack "${name}"`);
for (let i = 0; i < MEMBERS; i++) {
  drain(await RawPeer.open(Number(port), "/member"));
}
console.log("ready");
for await (const _line of Deno.stdin.readable) {
  console.log(`ended ${await attack(Number(port), chosen, Number(seconds))}`);
}
