// Says which programs a test run lacked, and how to install them.

import { missingPrograms } from "../tests/support/programs.ts";

const missing = await missingPrograms();
if (missing.length > 0) {
  console.log(
    `Some tests were ignored: ${missing.join(", ")} ${
      missing.length === 1 ? "is" : "are"
    } not installed. On Debian, .ci/run installs everything.`,
  );
}
