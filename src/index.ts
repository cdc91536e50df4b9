/**
 * ublk-stack as a library: read and check stacks, compile and plan them, draw them, and talk to the controller.
 *
 *   const { documents, problems } = parseStacks(text, "demo.yaml");
 *   const client = await openController({ start: "always" });
 *   for await (const event of client.apply({ document: documents[0].document, baseDir: "/srv" })) …
 */

export { ANY_WORLD, type Compiled, compile, type World } from "./compile/compile.js";
export { type Graph, type GraphExport, type GraphNode, graphOfSpec, graphOfTable } from "./compile/graph.js";
export type { Host, Media, MediaByLayer } from "./compile/media.js";
export { graphDot, graphMermaid, graphText } from "./compile/render-graph.js";
export type * from "./compile/table.js";
export {
  ERROR_CODES,
  type ErrorCode,
  type ErrorDetails,
  type ErrorEntry,
  errorEntry,
  isErrorCode,
  StackError,
} from "./errors.js";
export type { Change } from "./plan/diff.js";
export { NOTHING_OBSERVED, type Observed, type ObservedDevice } from "./plan/observed.js";
export {
  type Action,
  type Blocked,
  hasChanges,
  type Impact,
  type Plan,
  type PlanOptions,
  plan,
} from "./plan/plan.js";
export { renderPlan } from "./plan/render.js";
export type {
  ApplyRequest,
  ChangeEvent,
  Description,
  DiffReply,
  DiffRequest,
  DoneEvent,
  ProgressEvent,
  Version,
  WaitCondition,
} from "./reconcile/api.js";
export { buildId, packageVersion } from "./reconcile/build-id.js";
export { ControllerClient, type OpenOptions, openController } from "./reconcile/client.js";
export { type LogLine, type LogOptions, readLogs } from "./reconcile/logs.js";
export { type Paths, resolvePaths } from "./reconcile/paths.js";
export type { StatusItem, StatusList } from "./reconcile/status-schema.js";
export {
  type CheckedDocument,
  checkDocument,
  type DocPath,
  type Finding,
  hasErrors,
  type ParsedStack,
  type ParsedText,
  type Problem,
  parseStacks,
  renderProblem,
  renderProblems,
  type SourceMap,
  STACK_SCHEMA,
  type StackDocument,
  type StackSpec,
  toProblems,
} from "./spec/index.js";
