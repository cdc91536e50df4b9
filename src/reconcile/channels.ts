/** Open connections to servers, one each: for questions, and to learn of their end. */

import { StackError } from "../errors.js";
import { ControlChannel } from "./control-channel.js";
import { readReport, type ServerReport } from "./server-report.js";

/** A server answers from a thread of its own, whatever its queues do. */
const ANSWER_MS = 2_000;
const CONNECT_MS = 1_000;

export class Channels {
  readonly #open = new Map<string, ControlChannel>();
  readonly #opening = new Map<string, Promise<ControlChannel | null>>();

  /** @returns null when nobody listens */
  async to(runDir: string): Promise<ControlChannel | null> {
    const known = this.#open.get(runDir);
    if (known !== undefined && !known.closed) return known;
    const under = this.#opening.get(runDir);
    if (under !== undefined) return under;
    const opening = this.#connect(runDir).finally(() => this.#opening.delete(runDir));
    this.#opening.set(runDir, opening);
    return opening;
  }

  isOpen(runDir: string): boolean {
    return this.#open.get(runDir)?.closed === false;
  }

  /** @returns null when the server does not answer, which is not the same as that it does not serve */
  async report(runDir: string): Promise<ServerReport | null> {
    try {
      const channel = await this.to(runDir);
      return channel === null ? null : readReport(await channel.ask({ op: "status" }, ANSWER_MS));
    } catch (error) {
      if (error instanceof StackError) return null;
      throw error;
    }
  }

  closeAll(): void {
    for (const channel of this.#open.values()) channel.close();
    this.#open.clear();
  }

  async #connect(runDir: string): Promise<ControlChannel | null> {
    const channel = await ControlChannel.open(`${runDir}/control.sock`, CONNECT_MS);
    if (channel === null) return null;
    this.#open.set(runDir, channel);
    channel.onClose(() => {
      if (this.#open.get(runDir) === channel) this.#open.delete(runDir);
    });
    return channel;
  }
}
