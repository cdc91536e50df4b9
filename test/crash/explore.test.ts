/** Exploring with checks that are functions: what is learned from them, and what is not. */
import { expect, it } from "vitest";
import type { CommandResult } from "../../src/crash/command.js";
import { type Bench, explore } from "../../src/crash/explore.js";
import { Journal } from "../../src/crash/journal.js";
import { stateId } from "../../src/crash/model/state.js";
import { temporaryFolder } from "../cli/harness.js";
import { historyOf } from "./history.js";
import { write } from "./log-writer.js";

const { history } = historyOf(
  Array.from({ length: 40 }, (_, i) => write(1 + (i % 20), 1, i + 1)),
  24,
);
const breadth = { subsets: 20, tears: 0, seed: 1 };

/** Looks at the first place, and says what `say` says of the state. */
function bench(say: (id: string) => Partial<CommandResult>, done: string[]): Bench {
  return {
    async check(composer, state) {
      const id = stateId(history, state);
      const now = composer.now.slice();
      done.push(id);
      const result = { exit: 0, signal: null, timedOut: false, output: "", ...say(id) };
      return { result, reads: { places: Int32Array.of(0), now } };
    },
    renew: () => {},
    close: async () => {},
  };
}

async function explored(say: (id: string) => Partial<CommandResult>) {
  const [done, plainly]: [string[], string[]] = [[], []];
  const journal = new Journal(temporaryFolder());
  const benches = [bench(say, done)];
  const plain = bench(say, plainly);
  const signal = new AbortController().signal;
  try {
    const all = { history, breadth, journal, benches, plain, failFast: false, signal, onProgress: () => {} };
    return { ...(await explore(all)), done };
  } finally {
    journal.close();
  }
}

it("a check that passed or failed speaks for the states that it cannot tell from its own", async () => {
  const { counts, done } = await explored(() => ({}));
  expect(counts.known).toBeGreaterThan(3 * counts.checked);
  expect(counts.checked).toBe(done.length);
  expect(counts.states).toBe(counts.pruned + counts.known + counts.checked);
});

it("a check that ran out of time speaks for its own state alone", async () => {
  const slow = { exit: null, signal: "SIGKILL", timedOut: true };
  const { counts, failures, done } = await explored((id) => (id === "start" ? slow : {}));
  expect(failures.map(({ state }) => stateId(history, state))).toEqual(["start"]);
  // The next state holds the same in the first place, and was looked at for itself.
  expect(counts.failed).toBe(1);
  expect(done.slice(0, 2)).toEqual(["start", "0"]);
});
