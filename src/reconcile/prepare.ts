/** From a request to what could be stored and run, or to the reasons why not. Changes nothing. */

import { compile } from "../compile/compile.js";
import type { Host } from "../compile/media.js";
import { StackError } from "../errors.js";
import { checkDocument, type Finding, hasErrors, type StackDocument, type StackSpec } from "../spec/index.js";
import type { ApplyRequest } from "./api.js";
import { refusal } from "./error-body.js";
import { hereAndNow, type Paths } from "./paths.js";
import { preflight } from "./preflight/preflight.js";
import type { Desired } from "./stack-effects.js";
import type { StoredStack } from "./store.js";

export interface Prepared {
  readonly stored: StoredStack;
  readonly desired: Desired;
  readonly findings: Finding[];
}

/** @throws StackError with findings when the document is refused */
export function specOf(document: unknown): { spec: StackSpec; document: StackDocument; findings: Finding[] } {
  const checked = checkDocument(document);
  if (checked.spec === null || checked.document === null) {
    throw refusal(nameOf(document), checked.findings);
  }
  return { spec: checked.spec, document: checked.document, findings: checked.findings };
}

function nameOf(document: unknown): string {
  const name = (document as { metadata?: { name?: unknown } } | null)?.metadata?.name;
  return typeof name === "string" ? name : "?";
}

/**
 * Everything about a document that can be known before something is changed.
 * @param stacks all that are desired now, the one of this name included
 * @throws StackError with findings when the document is refused
 */
export async function prepare(
  request: Pick<ApplyRequest, "document" | "baseDir">,
  { paths, host, stacks }: { paths: Paths; host: Host; stacks: readonly StoredStack[] },
): Promise<Prepared> {
  const { spec, document, findings } = specOf(request.document);
  const { baseDir } = request;
  const look = await preflight({ spec, baseDir, paths, uid: hereAndNow().uid, stacks });
  const { table, findings: compiled } = compile(spec, { media: look.media, host });
  const all = [...findings, ...look.findings, ...compiled];
  if (hasErrors(all)) throw refusal(spec.name, all);
  if (table === null) throw new StackError("internal", `stack "${spec.name}" has no table and no error`);
  const before = stacks.find((stack) => stack.name === spec.name);
  return {
    stored: {
      version: 1,
      name: spec.name,
      document,
      baseDir,
      table,
      applied: before?.applied ?? null,
      paths: look.leafPaths,
      createdFiles: before?.createdFiles ?? [],
      deleting: false,
    },
    desired: { table, baseDir, leafPaths: look.leafPaths },
    findings: all,
  };
}
