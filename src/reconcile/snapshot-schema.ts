/** What is said of the snapshots of a layer: by its server, by the controller, and to the command line. */

import {
  flag,
  integer,
  list,
  nullable,
  object,
  oneOf,
  optional,
  type Static,
  text,
} from "./message-schema.js";

export const SNAPSHOT_CHANGES = ["create", "apply", "delete"] as const;
export type SnapshotChange = (typeof SNAPSHOT_CHANGES)[number];

const SNAPSHOT = object("One snapshot inside an image", {
  id: text("Its id, which the image gives it."),
  name: text("Its tag."),
  sizeBytes: integer("Size of the disk that it is of."),
  vmStateBytes: integer("Bytes of a virtual machine's state that it holds."),
  seconds: integer("When it was taken, since 1970."),
  nanoseconds: integer("And these."),
  guestSeconds: integer("How long the virtual machine had run."),
  guestNanoseconds: integer("And these."),
  icount: nullable(integer("Instructions that it had run; null where they were not counted.")),
});

export const SNAPSHOT_LIST = object("The snapshots of a layer", {
  snapshots: list("In the order of the image.", SNAPSHOT),
  underWay: nullable(
    object("A change that has not ended yet; null: none", {
      verb: oneOf("What is being done.", SNAPSHOT_CHANGES),
      name: text("The snapshot."),
    }),
  ),
});

export const SNAPSHOT_REQUEST = object("Change the snapshots of a layer", {
  verb: oneOf("create takes one; apply makes the disk what it was.", SNAPSHOT_CHANGES),
  name: text("A tag to create, else a tag or an id."),
  force: optional(flag("Apply even while somebody uses the layer.")),
  timeoutMs: optional(integer("How long to wait for the end; default 60000.")),
});

export const SNAPSHOT_REPLY = object("It is done", {
  snapshot: nullable(SNAPSHOT),
});

export type SnapshotList = Static<typeof SNAPSHOT_LIST>;
export type Snapshot = SnapshotList["snapshots"][number];
export type SnapshotRequest = Static<typeof SNAPSHOT_REQUEST>;
export type SnapshotReply = Static<typeof SNAPSHOT_REPLY>;
