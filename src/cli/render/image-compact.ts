/** What `image compact` says, while it goes on and at its end. */

import type { CompactProgress } from "../../native.js";
import type { Compacted } from "../common/image-compact.js";
import type { Sink } from "../common/terminal.js";
import { bytesText, plural } from "./amounts.js";

/** -o json and -o yaml. */
export function compactValue(path: string, done: Compacted) {
  return {
    filename: path,
    "zero-bytes": done.zeroBytes,
    "moved-bytes": done.movedBytes,
    "moved-table-bytes": done.movedTableBytes,
    "leaked-clusters": done.leaks,
    "file-length": done.fileBytes,
    "actual-size": done.diskBytes,
  };
}

const change = ({ before, after }: { before: number; after: number }) =>
  before === after
    ? `${bytesText(after)}, as before`
    : `${bytesText(before)} before, ${bytesText(after)} now`;

/** For people. */
export function renderCompact(path: string, done: Compacted): string {
  const { zeroBytes, movedBytes, movedTableBytes, leaks } = done;
  const what = [
    ...(leaks > 0 ? [`${plural(leaks, "leaked cluster")} taken back`] : []),
    ...(zeroBytes > 0 ? [`${bytesText(zeroBytes)} of zeros given up`] : []),
    ...(movedBytes > 0 ? [`${bytesText(movedBytes)} moved`] : []),
    ...(movedTableBytes > 0 ? [`${bytesText(movedTableBytes)} of tables moved`] : []),
  ];
  return [
    `${path}: ${what.length === 0 ? "nothing to move or give up" : what.join(", ")}`,
    `file length  ${change(done.fileBytes)}`,
    `disk size    ${change(done.diskBytes)}`,
    "",
  ].join("\n");
}

const DOING: Readonly<Record<CompactProgress["phase"], string>> = {
  zeros: "looking for zeros",
  tables: "looking at the tables",
  clusters: "moving clusters",
  holes: "giving back holes",
};

/** One line that changes, on a terminal only. */
export function createCompactProgress({ isTerminal, write }: Sink) {
  let shown = false;
  return {
    show({ phase, doneBytes, totalBytes }: CompactProgress): void {
      if (!isTerminal) return;
      shown = true;
      const part = totalBytes === 0 ? "" : ` ${bytesText(doneBytes)} of ${bytesText(totalBytes)}`;
      write(`\r\u001b[K${DOING[phase]}${part}`);
    },
    end(): void {
      if (shown) write("\r\u001b[K");
      shown = false;
    },
  };
}
