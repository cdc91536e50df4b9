/**
 * Leaving out checks because of what others read rests on two things: the check depends on its disk alone, and the
 * disk that records reads is as good as a file. Both are tried all the time: of the states that are left out some are
 * checked all the same, and of the checks on recorded disks the 1st, 2nd, 4th, 8th … that passed, and that failed, are
 * done again on a plain file. One answer that differs ends the trust.
 */

import { type CommandResult, howItEnded, succeeded } from "./command.js";
import type { Bench } from "./explore.js";
import type { Verdict } from "./journal.js";
import { Composer } from "./model/composer.js";
import type { History } from "./model/history.js";
import { type State, stateId } from "./model/state.js";

/** One of so many states that are left out is checked all the same; */
const SAMPLE = 64;
/** and the first ones. */
const FIRST = 4;

export class Guard {
  readonly #history: History;
  readonly #composer: Composer;
  readonly #plain: Bench;
  readonly #seed: number;
  #met = 0;
  #nrPassed = 0;
  #nrFailed = 0;
  #turn: Promise<void> = Promise.resolve();
  /** Why there is no trust any more. */
  doubt: string | null = null;
  /** Checks that were done for this alone. */
  confirmed = 0;

  /** @param plain where disks are plain files */
  constructor(history: History, plain: Bench, seed: number) {
    this.#history = history;
    this.#composer = new Composer(history);
    this.#plain = plain;
    this.#seed = seed;
  }

  /** Whether a state of this key is checked although its verdict is known. */
  samples(key: string): boolean {
    return this.#met++ < FIRST || ((Number.parseInt(key.slice(0, 8), 16) ^ this.#seed) >>> 0) % SAMPLE === 0;
  }

  /** @param known the verdict on another state that is the same in all that its check read */
  compare(state: State, { ok }: Verdict, known: Verdict): void {
    this.confirmed++;
    if (ok === known.ok) return;
    const good = (value: boolean) => (value ? "good" : "bad");
    this.doubt ??=
      `the check found state ${stateId(this.#history, state)} ${good(ok)}, and ${known.id} ${good(known.ok)}, ` +
      "which hold the same wherever it had read: it depends on more than its disk";
  }

  /** Does some of the checks on recorded disks again. */
  async confirm(state: State, result: CommandResult): Promise<void> {
    const passed = succeeded(result);
    const number = passed ? ++this.#nrPassed : ++this.#nrFailed;
    if ((number & (number - 1)) !== 0) return;
    const mine = this.#turn.then(() => this.#again(state, result));
    // The next in turn does not fail because this one did; whoever asked for this one hears of it.
    this.#turn = mine.catch(() => {});
    await mine;
  }

  async #again(state: State, result: CommandResult): Promise<void> {
    if (this.doubt !== null) return;
    this.#composer.compose(state);
    const { result: other } = await this.#plain.check(this.#composer, state);
    this.confirmed++;
    if (succeeded(other) === succeeded(result)) return;
    this.doubt ??=
      `on state ${stateId(this.#history, state)} the check ${howItEnded(result)} where its reads were recorded, ` +
      `and ${howItEnded(other)} on a plain file`;
  }
}
