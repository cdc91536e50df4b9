import type { Finding } from "../spec/finding.js";
import { exactBytes } from "./bytes.js";
import { misfitMembers, mixedMembers, mixedSurvival } from "./findings.js";
import { stackGeometry } from "./geometry.js";
import { type LayerKind, optionPath } from "./kind.js";

const stacked = (children: readonly { geometry: Parameters<typeof stackGeometry>[0][number] }[]) =>
  stackGeometry(children.map((child) => child.geometry));

/** linear: members one after the other, as device mapper's linear target. */
export const linear: LayerKind<"linear"> = {
  type: "linear",
  adjustable: [],
  children: (layer) => layer.options.members,

  check({ layer, children }) {
    const solved = stacked(children);
    const findings = [
      ...mixedMembers(layer, children),
      ...misfitMembers(layer, solved),
      ...mixedSurvival(layer, children),
    ];
    // Behind such a member every block of the layer would lie across two blocks of the media.
    const block = solved.geometry.logicalBlockBytes;
    children.forEach((child, index) => {
      if (child.sizeBytes === null || child.sizeBytes % block === 0) return;
      const finding: Finding = {
        path: optionPath(layer, "members", index),
        at: "value",
        code: "graph-mismatch",
        severity: "error",
        message: `member "${child.name}" of "${layer.name}" has ${exactBytes(child.sizeBytes)}, which is not a multiple of the layer's ${block}-byte blocks`,
        hint: "another member has larger blocks; make this one a multiple of them",
      };
      findings.push(finding);
    });
    return findings;
  },

  sizeBytes({ children }) {
    let sum = 0;
    for (const child of children) {
      if (child.sizeBytes === null) return null;
      sum += child.sizeBytes;
    }
    return sum;
  },

  geometry: ({ children }) => stacked(children).geometry,
  params: () => ({}),
  survivesReboot: (children) => children.every((child) => child.survivesReboot),
  creatable: false,
  place: () => null,

  keeps(before, after, bytes, keeps) {
    let start = 0;
    for (const [index, child] of before.children.entries()) {
      if (start >= bytes) return true;
      const successor = after.children[index];
      const wanted = Math.min(child.layer.sizeBytes, bytes - start);
      if (successor === undefined || !keeps(child, successor, wanted)) return undefined;
      start += child.layer.sizeBytes;
      // What follows a member of another length begins at another offset.
      if (start < bytes && successor.layer.sizeBytes !== child.layer.sizeBytes) return undefined;
    }
    return true;
  },

  copies: ({ children }) => (children.length === 1 ? children : []),
  head: ({ children }) => children[0],
};
