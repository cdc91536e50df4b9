#!/usr/bin/env node
/**
 * The command. What must be instant is answered before anything else is loaded: the version, and the shell's
 * questions while somebody presses Tab.
 */

import { packageVersion } from "./reconcile/build-id.js";

const argv = process.argv.slice(2);
const [first] = argv;

if (argv.length === 1 && (first === "--version" || first === "-V")) {
  process.stdout.write(`${packageVersion()}\n`);
} else if (first === "complete") {
  const { answerShell } = await import("./cli/complete.js");
  process.stdout.write(await answerShell(argv.slice(1), process.env));
} else {
  const { main } = await import("./cli/main.js");
  // Explicitly, because an idle connection to the controller must not keep the process.
  process.exit(await main(argv, process));
}
