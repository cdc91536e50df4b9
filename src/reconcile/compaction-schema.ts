/** What is said of an image that is made smaller while it is served: by its server, by the controller, to the command line. */

import { integer, object, oneOf, optional, type Static } from "./message-schema.js";

export const COMPACTION_BEGUN = object("It has begun", {
  number: integer("By which it is asked for."),
});

export const COMPACTION_QUERY = object("Which compaction", {
  number: integer("As its beginning said."),
});

export const COMPACTION = object("How far it is", {
  state: oneOf("done: all of what follows but the progress is there.", ["under-way", "done"]),
  phase: optional(oneOf("What is looked for or moved.", ["zeros", "tables", "clusters", "holes"])),
  doneBytes: optional(integer("Of this phase.")),
  totalBytes: optional(integer("Of this phase.")),
  zeroBytes: optional(integer("Clusters of zeros that were given up.")),
  movedBytes: optional(integer("Clusters of the disk that were moved.")),
  movedTableBytes: optional(integer("Clusters of tables that were moved.")),
});

export type CompactionBegun = Static<typeof COMPACTION_BEGUN>;
export type CompactionQuery = Static<typeof COMPACTION_QUERY>;
export type Compaction = Static<typeof COMPACTION>;
