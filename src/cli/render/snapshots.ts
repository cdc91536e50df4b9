/** Snapshots inside an image: in qemu-img's own names, so that scripts carry over, and as a table. Pure. */

import type { ImageSnapshot } from "../../native.js";
import { renderTable } from "../common/table.js";
import type { Colors } from "../common/terminal.js";
import { bytesText } from "./amounts.js";
import { clean } from "./clean.js";

/** -o json */
export function snapshotValue(snapshot: ImageSnapshot) {
  return {
    id: snapshot.id,
    name: snapshot.name,
    "vm-state-size": snapshot.vmStateBytes,
    "date-sec": snapshot.seconds,
    "date-nsec": snapshot.nanoseconds,
    "vm-clock-sec": snapshot.guestSeconds,
    "vm-clock-nsec": snapshot.guestNanoseconds,
    ...(snapshot.icount === null ? {} : { icount: snapshot.icount }),
    "virtual-size": snapshot.sizeBytes,
  };
}

const two = (count: number): string => String(count).padStart(2, "0");

/** hh:mm:ss.mmm, as much as there is of hours. */
function clockText({ guestSeconds, guestNanoseconds }: ImageSnapshot): string {
  const minutes = Math.floor(guestSeconds / 60);
  const milliseconds = String(Math.floor(guestNanoseconds / 1e6)).padStart(3, "0");
  return `${two(Math.floor(minutes / 60))}:${two(minutes % 60)}:${two(guestSeconds % 60)}.${milliseconds}`;
}

const dateText = ({ seconds }: ImageSnapshot): string =>
  new Date(seconds * 1000).toISOString().replace(".000Z", "Z");

export function renderSnapshots(snapshots: readonly ImageSnapshot[], colors: Colors): string {
  const rows = snapshots.map((snapshot) => [
    clean(snapshot.id),
    clean(snapshot.name),
    bytesText(snapshot.sizeBytes),
    bytesText(snapshot.vmStateBytes),
    dateText(snapshot),
    clockText(snapshot),
  ]);
  return renderTable(["SNAPSHOT", "TAG", "SIZE", "VM STATE", "DATE", "VM CLOCK"], rows, colors);
}
