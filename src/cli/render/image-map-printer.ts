/** Prints runs of an image as they come: lines for people, or one list for programs. */

import type { Sink } from "../common/terminal.js";
import { kindOf, type MapValue } from "./image-map.js";

export interface MapPrinter {
  add(runs: readonly MapValue[]): void;
  /** The last ones. */
  end(runs: readonly MapValue[]): void;
}

const KIND_COLUMNS = "unallocated".length;

/** Like `qemu-img map --output=json`: a line for each run. */
class JsonPrinter implements MapPrinter {
  readonly #out: Sink;
  #separator = "[";

  constructor(out: Sink) {
    this.#out = out;
  }

  add(runs: readonly MapValue[]): void {
    for (const run of runs) {
      const members = Object.entries(run).map(([key, value]) => `"${key}": ${value}`);
      this.#out.write(`${this.#separator}{ ${members.join(", ")}}`);
      this.#separator = ",\n";
    }
  }

  end(runs: readonly MapValue[]): void {
    this.add(runs);
    this.#out.line(this.#separator === "[" ? "[]" : "]");
  }
}

class YamlPrinter implements MapPrinter {
  readonly #out: Sink;
  #any = false;

  constructor(out: Sink) {
    this.#out = out;
  }

  add(runs: readonly MapValue[]): void {
    for (const run of runs) {
      const members = Object.entries(run).map(([key, value]) => `${key}: ${value}`);
      this.#out.line(`- ${members.join("\n  ")}`);
      this.#any = true;
    }
  }

  end(runs: readonly MapValue[]): void {
    this.add(runs);
    if (!this.#any) this.#out.line("[]");
  }
}

class TextPrinter implements MapPrinter {
  readonly #out: Sink;
  readonly #columns: number;

  /** @param sizeBytes of the disk: no start and no length is longer */
  constructor(out: Sink, sizeBytes: number) {
    this.#out = out;
    this.#columns = Math.max("LENGTH".length, String(sizeBytes).length);
    const { bold } = out.colors;
    out.line(bold(this.#row("START", "LENGTH", "KIND", "OFFSET")));
  }

  #row(start: string, length: string, kind: string, offset: string): string {
    const numbers = [start, length].map((text) => text.padStart(this.#columns));
    return `${numbers.join("   ")}   ${kind.padEnd(KIND_COLUMNS)}   ${offset}`.trimEnd();
  }

  add(runs: readonly MapValue[]): void {
    for (const run of runs) {
      const { start, length, offset } = run;
      this.#out.line(this.#row(String(start), String(length), kindOf(run), String(offset ?? "")));
    }
  }

  end(runs: readonly MapValue[]): void {
    this.add(runs);
  }
}

/** @param sizeBytes of the guest's disk */
export function createMapPrinter(format: string | undefined, sizeBytes: number, out: Sink): MapPrinter {
  if (format === "json") return new JsonPrinter(out);
  if (format === "yaml") return new YamlPrinter(out);
  return new TextPrinter(out, sizeBytes);
}
