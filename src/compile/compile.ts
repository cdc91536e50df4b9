/**
 * Spec → Table, without looking at anything but its arguments: the same spec, media and host give the same bytes.
 */

import { kindOf } from "../layers/registry.js";
import { type Finding, hasErrors } from "../spec/finding.js";
import type { StackSpec } from "../spec/stack-spec.js";
import { assemble, sharedSocket } from "./assemble.js";
import { limitFindings } from "./limits.js";
import type { Host, MediaByLayer } from "./media.js";
import { place } from "./placement.js";
import { type SolvedShape, solve } from "./solve.js";
import type { Table } from "./table.js";
import { layerOf, type Usage, usageOf } from "./usage.js";

/** What is seen of the world: empty media and an able host for a validation that looks at nothing. */
export interface World {
  media: MediaByLayer;
  host: Host;
}

export interface Compiled {
  /** null when a finding is an error, or a size cannot be known before the media are looked at (`unsized`). */
  table: Table | null;
  /** Errors and warnings, addressed by the place in the document. */
  findings: Finding[];
  /** Used layers whose size only their media tell, and nobody looked at them. */
  unsized: string[];
}

/** A world that could do everything, for validation without looking at the host. */
export const ANY_WORLD: World = { media: new Map(), host: { ublk: true, cpus: 1 } };

/**
 * Compile one stack.
 * @param spec as normalised by src/spec: names resolve, there is no cycle
 * @returns never throws for a StackSpec that keeps its promises; every problem is a finding
 */
export function compile(spec: StackSpec, { media, host }: World): Compiled {
  const usage = usageOf(spec);
  const { shapes, findings: solving } = solve(spec, media, usage);
  const placement = place(spec, usage, host);
  const findings = [...solving, ...placement.findings, ...sharedSocket(placement), ...samePlace(spec, usage)];

  if (hasErrors(findings)) return { table: null, findings, unsized: [] };
  const solved = new Map<string, SolvedShape>();
  for (const [name, { sizeBytes, geometry }] of shapes) {
    if (sizeBytes !== null) solved.set(name, { sizeBytes, geometry });
  }
  const unsized = usage.used.filter(
    (name) => !solved.has(name) && usage.children(name).every((child) => solved.has(child)),
  );
  if (unsized.length > 0) return { table: null, findings, unsized };

  const devices = assemble({ spec, usage, placement, shapes: solved, host });
  findings.push(...limitFindings(spec, devices));
  if (hasErrors(findings)) return { table: null, findings, unsized: [] };
  return {
    table: { version: 1, stack: spec.name, compose: placement.compose, devices },
    findings,
    unsized: [],
  };
}

/** Two layers on one file or device, as far as the texts tell; preflight compares what they lead to. */
function samePlace(spec: StackSpec, usage: Usage): Finding[] {
  const owners = new Map<string, string>();
  return [...usage.used].reverse().flatMap((name): Finding[] => {
    const layer = layerOf(spec, name);
    const kind = kindOf(layer);
    const where = kind.place({
      name,
      type: layer.type,
      sizeBytes: 0,
      params: kind.params(layer, usage.grows(name)),
    });
    if (where === null) return [];
    const owner = owners.get(where);
    if (owner === undefined) {
      owners.set(where, name);
      return [];
    }
    if (usage.readOnly(owner) && usage.readOnly(name)) return [];
    return [
      {
        path: [...layer.docPath, layer.type, "path"],
        at: "value",
        code: "path-twice",
        severity: "error",
        message: `layers "${owner}" and "${name}" use the same path, and what one writes the other overwrites`,
        expected: "a path of its own",
      },
    ];
  });
}
