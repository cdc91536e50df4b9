/**
 * The two streams of the process, and what each can take: colour, width, and whether anybody still reads.
 *
 * A reader that goes away (`| head`) must not stop work that is under way: writing to it becomes a no-op, and the
 * verbs that exist only to write look at `outputGone`.
 */

import pc from "picocolors";

export type Colors = ReturnType<typeof pc.createColors>;

/** What a verb may ask of a stream; tests pass their own. */
export interface Stream {
  write(text: string, onDone?: () => void): boolean;
  /** What has been written, and not yet been handed to the system. */
  readonly writableLength?: number | undefined;
  readonly isTTY?: boolean | undefined;
  readonly columns?: number | undefined;
  on(event: "error", listener: (error: NodeJS.ErrnoException) => void): unknown;
}

export interface Sink {
  readonly isTerminal: boolean;
  /** Columns of the terminal; Infinity where lines must not be folded (a pipe or a file). */
  readonly columns: number;
  readonly colors: Colors;
  /** Text that brings its own line ends. */
  write(text: string): void;
  /** Text and a line end. */
  line(text?: string): void;
  /**
   * When all of it is with the system, or nobody reads any more: for who has more to write than memory holds, and for the
   * end of the process, which would take the rest along.
   */
  drained(): Promise<void>;
}

export interface Terminal {
  readonly out: Sink;
  readonly err: Sink;
  /** Aborted once nobody reads standard output any more. */
  readonly outputGone: AbortSignal;
}

/**
 * Whether a stream gets colours: NO_COLOR wins over FORCE_COLOR, and both over what the stream is.
 * @see https://no-color.org and https://force-color.org
 */
export function wantsColor(isTerminal: boolean, env: NodeJS.ProcessEnv): boolean {
  if (env.NO_COLOR) return false;
  if (env.FORCE_COLOR !== undefined && env.FORCE_COLOR !== "") {
    return env.FORCE_COLOR !== "0" && env.FORCE_COLOR !== "false";
  }
  return isTerminal && env.TERM !== "dumb";
}

function createSink(stream: Stream, env: NodeJS.ProcessEnv, gone: AbortController): Sink {
  const isTerminal = stream.isTTY === true;
  const write = (text: string): void => {
    if (!gone.signal.aborted && text !== "") stream.write(text);
  };
  return {
    isTerminal,
    columns: isTerminal ? (stream.columns ?? 80) : Number.POSITIVE_INFINITY,
    colors: pc.createColors(wantsColor(isTerminal, env)),
    write,
    line: (text = "") => write(`${text}\n`),
    drained: () =>
      new Promise((onDone) => {
        if (gone.signal.aborted || !stream.writableLength) onDone();
        else stream.write("", onDone);
      }),
  };
}

/** @throws from the stream's error event anything but a reader that went away (EPIPE, or EIO of a closed terminal) */
export function createTerminal(stdout: Stream, stderr: Stream, env: NodeJS.ProcessEnv): Terminal {
  const outGone = new AbortController();
  const errGone = new AbortController();
  for (const [stream, gone] of [
    [stdout, outGone],
    [stderr, errGone],
  ] as const) {
    stream.on("error", (error) => {
      if (error.code !== "EPIPE" && error.code !== "EIO") throw error;
      gone.abort();
    });
  }
  return {
    out: createSink(stdout, env, outGone),
    err: createSink(stderr, env, errGone),
    outputGone: outGone.signal,
  };
}
