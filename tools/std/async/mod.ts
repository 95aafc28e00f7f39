// What the tests use of `jsr:@std/async`, taken from npm for machines that
// cannot reach JSR. The code is the standard library's own, the types are
// beside it. (Its npm `async/mod.js` names a file that the package lacks.)

// @ts-types="./mod.d.ts"
export { abortable } from "npm:deno-std@1.4.0/async/abortable.js";
// @ts-types="./mod.d.ts"
export { deadline } from "npm:deno-std@1.4.0/async/deadline.js";
// @ts-types="./mod.d.ts"
export { delay } from "npm:deno-std@1.4.0/async/delay.js";
export type { DeadlineOptions, DelayOptions } from "./mod.d.ts";
