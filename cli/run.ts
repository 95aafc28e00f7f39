/**
 * Runs the command.
 *
 * @module
 */

import { bench } from "./bench.ts";
import { HELP, parseOptions, UsageError } from "./cli_options.ts";
import { connect } from "./connect.ts";
import { listen } from "./listen.ts";
import { Printer, type Terminal } from "./printer.ts";

/**
 * Runs the command.
 *
 * @param args The arguments.
 * @param signal Ends a server.
 * @returns The exit code.
 */
export async function run(
  args: readonly string[],
  terminal: Terminal,
  signal: AbortSignal,
): Promise<number> {
  try {
    const options = parseOptions(args);
    if (options === undefined) {
      terminal.print(HELP);
      return 0;
    }
    const printer = new Printer(terminal, options.isJson);
    switch (options.mode) {
      case "listen":
        return await listen(options, terminal, printer, signal);
      case "bench":
        return await bench(options, terminal, printer);
      default:
        return await connect(options, terminal, printer);
    }
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    terminal.note(`${error.message}\nTry --help`);
    return 2;
  }
}
