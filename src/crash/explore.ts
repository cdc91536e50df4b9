/**
 * Goes through all states: composes each, leaves out those whose content was checked before, and those that hold the
 * same as one that was checked wherever that check has read. Has the others checked by as many jobs as are allowed.
 * Then makes the smallest failing state smaller, as long as that still fails.
 */

import { setImmediate as breathe } from "node:timers/promises";
import { type CommandResult, succeeded } from "./command.js";
import { Guard } from "./guard.js";
import type { Journal, Verdict } from "./journal.js";
import { Composer } from "./model/composer.js";
import type { History } from "./model/history.js";
import { Knowledge } from "./model/knowledge.js";
import { simplerThan } from "./model/simplify.js";
import { compareStates, departures, type State, stateId } from "./model/state.js";
import { type Breadth, statesOf } from "./model/states.js";
import type { Reads } from "./rebuilt-disk.js";

export interface Checked {
  readonly result: CommandResult;
  /** What was read of the disk; null when it could not tell. */
  readonly reads: Reads | null;
}

/** One place where states are rebuilt and checked, one after the other. */
export interface Bench {
  /** Takes the state from the composer before it first waits. */
  check(composer: Composer, state: State): Promise<Checked>;
  /** Forgets what is rebuilt, so that the next check sees a disk that was made from nothing. */
  renew(): void;
  close(): Promise<void>;
}

export interface Counts {
  /** States that were looked at: what follows, added up. */
  states: number;
  /** Of these, whose content was the same as that of another, or was checked in an earlier run. */
  pruned: number;
  /** Of these, that hold the same as one that was checked wherever its check has read. */
  known: number;
  checked: number;
  /** States that failed, those that were not checked themselves included. */
  failed: number;
  /** All that there are to look at. */
  total: number;
  /** Other states that were looked at to make the failing one smaller. */
  simpler: number;
}

export interface Failure {
  readonly state: State;
  readonly verdict: Verdict;
}

export interface Exploration {
  readonly counts: Counts;
  /** The smallest state of each check that failed, smallest first. */
  readonly failures: readonly Failure[];
  /** The smallest failing state that was found, checked once more on a new disk. */
  readonly smallest: { readonly failure: Failure; readonly again: boolean } | null;
  /** Checks that were done only to see whether others may be left out. */
  readonly confirmed: number;
}

export interface ExploreOptions {
  readonly history: History;
  readonly breadth: Breadth;
  readonly journal: Journal;
  readonly benches: readonly Bench[];
  /** Where disks are plain files, when the others record what is read; null when they do not. */
  readonly plain: Bench | null;
  /** End with the first failing state. */
  readonly failFast: boolean;
  readonly signal: AbortSignal;
  readonly onProgress: (counts: Counts) => void;
}

/** What reads have shown, or how they were recorded, is not to be trusted; nothing that was found counts. */
export class ReadsDoubted extends Error {}

/** Most states that are checked to make a failing one smaller. */
const SIMPLER_STATES = 400;
/** How long states may be composed without letting the end of a check be heard. */
const BREATH_MS = 4;

class Explorer {
  readonly #options: ExploreOptions;
  readonly #composer: Composer;
  readonly #states: Generator<State>;
  readonly #busy = new Map<string, Promise<Verdict>>();
  readonly #failures = new Map<string, Failure>();
  readonly #knowledge = new Knowledge<Verdict>();
  readonly #guard: Guard | null;
  readonly counts: Counts = { states: 0, pruned: 0, known: 0, checked: 0, failed: 0, total: 0, simpler: 0 };
  #breathed = performance.now();

  constructor(options: ExploreOptions) {
    const { history, breadth, plain } = options;
    this.#options = options;
    this.#composer = new Composer(history);
    this.#guard = plain === null ? null : new Guard(history, plain, breadth.seed);
    for (const _ of statesOf(history, breadth)) this.counts.total++;
    this.#states = statesOf(history, breadth);
  }

  async run(): Promise<Exploration> {
    const { benches, failFast, plain } = this.#options;
    await Promise.all(benches.map((bench) => this.#work(bench)));
    this.#mustTrust();
    this.#options.onProgress(this.counts);
    const failures = [...this.#failures.values()].sort((a, b) => compareStates(a.state, b.state));
    const [first] = failures;
    const bench = benches[0];
    const counts = { ...this.counts };
    if (first === undefined || bench === undefined) {
      return { counts, failures, smallest: null, confirmed: this.#guard?.confirmed ?? 0 };
    }
    const failure = await this.#simplify(first, bench);
    counts.simpler = this.counts.simpler;
    this.#mustTrust();
    const fresh = plain ?? bench;
    fresh.renew();
    this.#composer.compose(failure.state);
    const { result } = await fresh.check(this.#composer, failure.state);
    return {
      counts,
      failures: failFast ? [first] : failures,
      smallest: { failure, again: !succeeded(result) },
      confirmed: this.#guard?.confirmed ?? 0,
    };
  }

  #mustTrust(): void {
    const doubt = this.#guard?.doubt ?? null;
    if (doubt !== null) throw new ReadsDoubted(doubt);
  }

  async #work(bench: Bench): Promise<void> {
    const { signal, failFast, onProgress } = this.#options;
    for (;;) {
      signal.throwIfAborted();
      if (this.#guard?.doubt != null || (failFast && this.#failures.size > 0)) return;
      if (performance.now() - this.#breathed > BREATH_MS) {
        await breathe();
        this.#breathed = performance.now();
      }
      const { value: state, done } = this.#states.next();
      if (done || state === undefined) return;
      this.counts.states++;
      const found = this.#verdictOf(state, bench);
      // Most verdicts are known: waiting for these would take longer than finding them.
      const verdict = found instanceof Promise ? await found : found;
      if (!verdict.ok) this.#failed({ state, verdict });
      onProgress(this.counts);
    }
  }

  /** Composing and taking the state over happen in one go: the composer is shared. */
  #verdictOf(state: State, bench: Bench): Verdict | Promise<Verdict> {
    const { journal } = this.#options;
    const key = this.#composer.compose(state);
    const same = journal.verdicts.get(key) ?? this.#busy.get(key);
    if (same !== undefined) {
      this.counts.pruned++;
      return same;
    }
    const known = this.#guard === null ? undefined : this.#knowledge.find(this.#composer.now);
    if (known !== undefined && this.#guard?.samples(key) === false) {
      this.counts.known++;
      return known;
    }
    const verdict = this.#judge(state, key, bench, known);
    this.#busy.set(key, verdict);
    return verdict.finally(() => this.#busy.delete(key));
  }

  async #judge(state: State, key: string, bench: Bench, known: Verdict | undefined): Promise<Verdict> {
    const { history, journal } = this.#options;
    const { result, reads } = await bench.check(this.#composer, state);
    this.counts.checked++;
    const ok = succeeded(result);
    const verdict = { key, id: stateId(history, state), ok, ...(ok ? {} : { result }) };
    journal.add(verdict);
    if (known !== undefined) this.#guard?.compare(state, verdict, known);
    else if (reads !== null) {
      // How long a check takes is not said by its disk alone.
      if (!result.timedOut) this.#knowledge.learn(reads.places, reads.now, verdict);
      await this.#guard?.confirm(state, result);
    }
    return verdict;
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
    for (let better: Failure | null = first; better !== null && departures(better.state) > 0; ) {
      better = null;
      for (const state of simplerThan(history, smallest.state)) {
        signal.throwIfAborted();
        if (++this.counts.simpler > SIMPLER_STATES) return smallest;
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

/** @throws ReadsDoubted; the signal's reason when it is aborted */
export async function explore(options: ExploreOptions): Promise<Exploration> {
  return await new Explorer(options).run();
}
