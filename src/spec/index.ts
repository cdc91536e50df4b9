/** Text → Spec. */

export { type NoOption, type OptionChange, withOption } from "./edit.js";
export { type DocPath, type Finding, hasErrors, type Severity } from "./finding.js";
export {
  type CheckedDocument,
  checkDocument,
  type ParsedStack,
  type ParsedText,
  parseStacks,
} from "./parse.js";
export { type Problem, toProblems } from "./problem.js";
export { TEXT_BYTES_MAX } from "./read-yaml.js";
export { type RenderOptions, renderProblem, renderProblems } from "./render.js";
export { STACK_SCHEMA } from "./schema.gen.js";
export { formatSize, parseSize } from "./size.js";
export type { SourceMap, Span } from "./source.js";
export type { StackDocument } from "./spec.gen.js";
export type * from "./stack-spec.js";
export { MAX_DEPTH, MAX_MEMBERS } from "./stack-spec.js";
