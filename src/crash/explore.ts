/**
 * Goes through all states: composes each, leaves out those whose content was checked before, and has the others
 * checked by as many jobs as are allowed. Then makes the smallest failing state smaller, as long as that still fails.
 */

import { setImmediate as breathe } from "node:timers/promises";
import { type CommandResult, succeeded } from "./command.js";
import type { Journal, Verdict } from "./journal.js";
import { Composer } from "./model/composer.js";
import type { History } from "./model/history.js";
import { simplerThan } from "./model/simplify.js";
import { compareStates, departures, type State, stateId } from "./model/state.js";
import { type Breadth, statesOf } from "./model/states.js";

/** One place where states are rebuilt and checked, one after the other. */
export interface Bench {
  /** Takes the state from the composer before it first waits. */
  check(composer: Composer, state: State): Promise<CommandResult>;
  /** Forgets what is rebuilt, so that the next check sees a disk that was made from nothing. */
  renew(): void;
  close(): Promise<void>;
}

export interface Counts {
  /** States that were looked at. */
  states: number;
  /** Of these, whose content was the same as that of another, or was checked in an earlier run. */
  pruned: number;
  checked: number;
  /** States that failed, those of the same content included. */
  failed: number;
  /** All that there are to look at. */
  total: number;
}

export interface Failure {
  readonly state: State;
  readonly verdict: Verdict;
}

export interface Exploration {
  readonly counts: Counts;
  /** The smallest state of each content that fails, smallest first. */
  readonly failures: readonly Failure[];
  /** The smallest failing state that was found, checked once more on a new disk. */
  readonly smallest: { readonly failure: Failure; readonly again: boolean } | null;
}

export interface ExploreOptions {
  readonly history: History;
  readonly breadth: Breadth;
  readonly journal: Journal;
  readonly benches: readonly Bench[];
  /** End with the first failing state. */
  readonly failFast: boolean;
  readonly signal: AbortSignal;
  readonly onProgress: (counts: Counts) => void;
}

/** Most states that are checked to make a failing one smaller. */
const SIMPLER_STATES = 400;
/** How long states may be composed without letting the end of a check be heard. */
const BREATH_MS = 20;

class Explorer {
  readonly #options: ExploreOptions;
  readonly #composer: Composer;
  readonly #states: Generator<State>;
  readonly #busy = new Map<string, Promise<Verdict>>();
  readonly #failures = new Map<string, Failure>();
  readonly counts: Counts = { states: 0, pruned: 0, checked: 0, failed: 0, total: 0 };
  #breathed = performance.now();

  constructor(options: ExploreOptions) {
    this.#options = options;
    this.#composer = new Composer(options.history);
    for (const _ of statesOf(options.history, options.breadth)) this.counts.total++;
    this.#states = statesOf(options.history, options.breadth);
  }

  async run(): Promise<Exploration> {
    const { benches, failFast } = this.#options;
    await Promise.all(benches.map((bench) => this.#work(bench)));
    this.#options.onProgress(this.counts);
    const failures = [...this.#failures.values()].sort((a, b) => compareStates(a.state, b.state));
    const [first] = failures;
    const bench = benches[0];
    if (first === undefined || bench === undefined) return { counts: this.counts, failures, smallest: null };
    const smallest = await this.#simplify(first, bench);
    bench.renew();
    const again = !succeeded(await this.#check(smallest.state, bench));
    return {
      counts: this.counts,
      failures: failFast ? [first] : failures,
      smallest: { failure: smallest, again },
    };
  }

  async #work(bench: Bench): Promise<void> {
    const { signal, failFast, onProgress } = this.#options;
    for (;;) {
      signal.throwIfAborted();
      if (failFast && this.#failures.size > 0) return;
      if (performance.now() - this.#breathed > BREATH_MS) {
        await breathe();
        this.#breathed = performance.now();
      }
      const { value: state, done } = this.#states.next();
      if (done || state === undefined) return;
      this.counts.states++;
      const verdict = await this.#verdictOf(state, bench);
      if (!verdict.ok) this.#failed({ state, verdict });
      onProgress(this.counts);
    }
  }

  /** Composing and taking the state over happen in one go: the composer is shared. */
  #verdictOf(state: State, bench: Bench): Verdict | Promise<Verdict> {
    const { journal } = this.#options;
    const key = this.#composer.compose(state);
    const known = journal.verdicts.get(key) ?? this.#busy.get(key);
    if (known !== undefined) {
      this.counts.pruned++;
      return known;
    }
    const verdict = this.#judge(state, key, bench);
    this.#busy.set(key, verdict);
    return verdict.finally(() => this.#busy.delete(key));
  }

  async #judge(state: State, key: string, bench: Bench): Promise<Verdict> {
    const result = await bench.check(this.#composer, state);
    this.counts.checked++;
    const ok = succeeded(result);
    const verdict = { key, id: stateId(this.#options.history, state), ok, ...(ok ? {} : { result }) };
    this.#options.journal.add(verdict);
    return verdict;
  }

  #check(state: State, bench: Bench): Promise<CommandResult> {
    this.#composer.compose(state);
    return bench.check(this.#composer, state);
  }

  #failed(failure: Failure): void {
    this.counts.failed++;
    const known = this.#failures.get(failure.verdict.key);
    if (known === undefined || compareStates(failure.state, known.state) < 0) {
      this.#failures.set(failure.verdict.key, failure);
    }
  }

  /** Follows failing states to simpler ones until none of the simpler fails. */
  async #simplify(first: Failure, bench: Bench): Promise<Failure> {
    const { history, signal } = this.#options;
    let smallest = first;
    let tries = 0;
    for (let better: Failure | null = first; better !== null && departures(better.state) > 0; ) {
      better = null;
      for (const state of simplerThan(history, smallest.state)) {
        signal.throwIfAborted();
        if (++tries > SIMPLER_STATES) return smallest;
        const verdict = await this.#verdictOf(state, bench);
        if (verdict.ok || compareStates(state, smallest.state) >= 0) continue;
        better = { state, verdict };
        smallest = better;
        break;
      }
    }
    return smallest;
  }
}

/** @throws the signal's reason when it is aborted */
export async function explore(options: ExploreOptions): Promise<Exploration> {
  return await new Explorer(options).run();
}
