/** A graph as a tree of text, as Graphviz dot, and as mermaid. Pure strings, the same for the same graph. */

import type { Graph, GraphNode } from "./graph.js";

const words = (node: GraphNode): string => [node.type, ...node.facts].join(", ");
const exportWords = (entry: Graph["exports"][number]): string =>
  `${entry.name} (${entry.frontend}${entry.readOnly ? ", read-only" : ""})`;

/** Nodes by id, and the devices with their nodes; one group named null when the graph knows no devices. */
function groups(graph: Graph): Map<string | null, GraphNode[]> {
  const byDevice = new Map<string | null, GraphNode[]>();
  for (const node of graph.nodes) byDevice.set(node.device, [...(byDevice.get(node.device) ?? []), node]);
  return byDevice;
}

const groupTitle = (device: string): string =>
  device.startsWith("@") ? "NBD server" : `ublk device ${device}`;

/** As `tree` draws folders: exports at the top; a layer that is met again is not drawn again. */
export function graphText(graph: Graph): string {
  const nodes = new Map(graph.nodes.map((node) => [node.id, node]));
  const lines: string[] = [graph.stack];
  const drawn = new Set<string>();

  const draw = (id: string, indent: string, last: boolean, device: string | null): void => {
    const node = nodes.get(id);
    if (node === undefined) return;
    const again = drawn.has(id);
    drawn.add(id);
    const host = node.device !== null && node.device !== device ? `  [${groupTitle(node.device)}]` : "";
    const note = again && node.children.length > 0 ? "  (see above)" : "";
    lines.push(`${indent}${last ? "└─" : "├─"} ${node.name}: ${words(node)}${host}${note}`);
    if (again) return;
    const below = `${indent}${last ? "   " : "│  "}`;
    for (const [index, child] of node.children.entries()) {
      draw(child, below, index === node.children.length - 1, node.device);
    }
  };

  const unused = unreached(graph);
  graph.exports.forEach((entry, index) => {
    const last = index === graph.exports.length - 1 && unused.length === 0;
    lines.push(`${last ? "└─" : "├─"} ${exportWords(entry)}`);
    draw(entry.root, last ? "   " : "│  ", true, null);
  });
  if (unused.length > 0) lines.push("└─ unused");
  for (const [index, id] of unused.entries()) draw(id, "   ", index === unused.length - 1, null);
  return `${lines.join("\n")}\n`;
}

/** Nodes that are neither shown by an export nor a child of another node. */
function unreached(graph: Graph): string[] {
  const reached = new Set([
    ...graph.exports.map((entry) => entry.root),
    ...graph.nodes.flatMap((node) => node.children),
  ]);
  return graph.nodes.map((node) => node.id).filter((id) => !reached.has(id));
}

const dotText = (text: string): string =>
  `"${text.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n")}"`;

/** For Graphviz: devices are boxes around their layers, exports stand at the top. */
export function graphDot(graph: Graph): string {
  const lines = [
    `digraph ${dotText(graph.stack)} {`,
    "  rankdir=TB;",
    '  node [shape=box, style="rounded,filled", fillcolor=white, fontname="sans-serif", fontsize=11];',
    '  edge [fontname="sans-serif", fontsize=9];',
  ];
  for (const [device, nodes] of groups(graph)) {
    const indent = device === null ? "  " : "    ";
    if (device !== null) {
      lines.push(`  subgraph ${dotText(`cluster ${device}`)} {`);
      lines.push(
        `    label=${dotText(groupTitle(device))}; style="rounded,filled"; fillcolor="#f2f5fa"; color="#8fa3c0";`,
      );
    }
    for (const node of nodes) {
      const label = dotText([node.name, node.type, ...node.facts].join("\n"));
      lines.push(`${indent}${dotText(node.id)} [label=${label}];`);
    }
    if (device !== null) lines.push("  }");
  }
  for (const entry of graph.exports) {
    const id = dotText(`export ${entry.name}`);
    lines.push(`  ${id} [label=${dotText(exportWords(entry))}, shape=oval, fillcolor="#dcefdc"];`);
    lines.push(`  ${id} -> ${dotText(entry.root)};`);
  }
  for (const node of graph.nodes) {
    const many = node.children.length > 1;
    node.children.forEach((child, index) => {
      lines.push(`  ${dotText(node.id)} -> ${dotText(child)}${many ? ` [label="${index}"]` : ""};`);
    });
  }
  lines.push("}");
  return `${lines.join("\n")}\n`;
}

/** Mermaid has entities instead of escapes. */
const mermaidText = (text: string): string =>
  `"${text.replaceAll("#", "#35;").replaceAll('"', "#quot;").replaceAll("<", "#lt;").replaceAll(">", "#gt;").replaceAll("\n", "<br/>")}"`;

/** For mermaid, as GitHub draws it. */
export function graphMermaid(graph: Graph): string {
  const ids = new Map(graph.nodes.map((node, index) => [node.id, `n${index}`]));
  const lines = ["flowchart TD"];
  let box = 0;
  for (const [device, nodes] of groups(graph)) {
    const indent = device === null ? "  " : "    ";
    if (device !== null) lines.push(`  subgraph g${box++}[${mermaidText(groupTitle(device))}]`);
    for (const node of nodes) {
      lines.push(
        `${indent}${ids.get(node.id)}[${mermaidText([node.name, node.type, ...node.facts].join("\n"))}]`,
      );
    }
    if (device !== null) lines.push("  end");
  }
  graph.exports.forEach((entry, index) => {
    lines.push(`  e${index}([${mermaidText(exportWords(entry))}]) --> ${ids.get(entry.root)}`);
  });
  for (const node of graph.nodes) {
    for (const child of node.children) lines.push(`  ${ids.get(node.id)} --> ${ids.get(child)}`);
  }
  return `${lines.join("\n")}\n`;
}
