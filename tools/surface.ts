// Writes tests/surface.txt: all that the package exports, with its types. What
// changes there is what changes for those who use it.

import { documented, surface } from "./package.ts";

await Deno.writeTextFile("tests/surface.txt", surface(await documented()));
