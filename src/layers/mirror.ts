import type { LayerSpecOf } from "../spec/stack-spec.js";
import { exactBytes } from "./bytes.js";
import { misfitMembers, mixedMembers, wastedMembers } from "./findings.js";
import { stackGeometry } from "./geometry.js";
import { type Content, type ContentFacts, type LayerKind, optionPath, type Shape } from "./kind.js";

const stacked = (children: readonly Shape[]) => stackGeometry(children.map((child) => child.geometry));

/** Bytes that every member holds: the smallest one, in whole blocks of the mirror; null while a size is unknown. */
function memberBytes(children: readonly Shape[]): number | null {
  const sizes = children.map((child) => child.sizeBytes);
  if (sizes.some((size) => size === null)) return null;
  const smallest = Math.min(...(sizes as number[]));
  return smallest - (smallest % stacked(children).geometry.logicalBlockBytes);
}

/** A member too small for one block would make the mirror empty. */
function tooSmall(layer: LayerSpecOf<"mirror">, children: readonly Shape[]) {
  const block = stacked(children).geometry.logicalBlockBytes;
  return children.flatMap((child, index) =>
    (child.sizeBytes ?? block) >= block
      ? []
      : [
          {
            path: optionPath(layer, "members", index),
            at: "value" as const,
            code: "size-too-small" as const,
            severity: "error" as const,
            message: `member "${child.name}" of "${layer.name}" has ${exactBytes(child.sizeBytes ?? 0)}, less than one block`,
            expected: `at least ${exactBytes(block)}`,
          },
        ],
  );
}

/** Where nobody is current, nothing tells the members apart: each counts. */
function currentMembers({ layer, children }: Content, facts: ContentFacts): readonly Content[] {
  const current = children.filter((child) => facts.current(layer.name, child.layer.name));
  return current.length > 0 ? current : children;
}

/** mirror: every member holds the same bytes, and nothing else: no metadata on the members. */
export const mirror: LayerKind<"mirror"> = {
  type: "mirror",
  remembers: true,
  adjustable: [],
  children: (layer) => layer.options.members,

  check({ layer, children }) {
    const used = memberBytes(children);
    return [
      ...mixedMembers(layer, children),
      ...misfitMembers(layer, stacked(children)),
      ...(used === null ? [] : wastedMembers(layer, children, used)),
      ...tooSmall(layer, children),
    ];
  },

  sizeBytes: ({ children }) => memberBytes(children),
  geometry: ({ children }) => stacked(children).geometry,
  params: () => ({}),
  survivesReboot: (children) => children.some((child) => child.survivesReboot),
  creatable: false,
  place: () => null,

  /**
   * The same mirror knows from its state which members are current: one that stays is enough, and new members are
   * copied. A member made of other layers is recognised by its name and its leaves alone: if it keeps its name but
   * not its bytes, the mirror would take it for current, so this answer is final.
   */
  keeps(before, after, bytes, keeps, facts) {
    if (before.layer.name !== after.layer.name) return undefined;
    const current = currentMembers(before, facts);
    let kept = false;
    for (const member of before.children) {
      const successor = after.children.find((other) => other.layer.name === member.layer.name);
      if (successor === undefined) continue;
      const same = keeps(member, successor, bytes);
      if (!same && successor.children.length > 0) return false;
      kept ||= same && current.includes(member);
    }
    return kept;
  },

  copies: currentMembers,
  head: ({ children }) => children[0],
};
