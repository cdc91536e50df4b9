/** `ublk-stack graph FILE|NAME`: the layers as a tree, for Graphviz, for mermaid, or drawn. */

import { type Graph, graphOfSpec, graphOfTable } from "../compile/graph.js";
import { graphDot, graphMermaid, graphText } from "../compile/render-graph.js";
import { StackError } from "../errors.js";
import { openController } from "../reconcile/client.js";
import type { ExitStatus, Invocation } from "./common/invocation.js";
import { meansFile } from "./common/stack-files.js";
import { checkedName } from "./common/stack-name.js";

/** The XML prologue names a DTD on the network; a picture in a page needs neither. */
const PROLOGUE = /^<\?xml[\s\S]*?(?=<svg)/;

async function graphSvg(graphs: readonly Graph[]): Promise<string> {
  const [graph, ...others] = graphs;
  if (graph === undefined || others.length > 0) {
    throw new StackError("usage", `-o svg draws one stack, and there are ${graphs.length}`);
  }
  const { instance } = await import("@viz-js/viz");
  const viz = await instance();
  return viz.renderString(graphDot(graph), { format: "svg" }).replace(PROLOGUE, "");
}

function draw(graphs: readonly Graph[], format: string | undefined): string | Promise<string> {
  if (format === "svg") return graphSvg(graphs);
  const one = format === "dot" ? graphDot : format === "mermaid" ? graphMermaid : graphText;
  return graphs.map(one).join("\n");
}

async function graphsOf(invocation: Invocation): Promise<readonly Graph[] | null> {
  const { args, options, interrupted } = invocation;
  const [word, ...others] = args;
  if (word === undefined || others.length > 0)
    throw new StackError("usage", "give one stack file or one name");
  if (meansFile(word) || options.filename !== undefined) {
    const { acceptedStacks } = await import("./common/stacks.js");
    const stacks = await acceptedStacks(invocation);
    return stacks === null ? null : stacks.map(({ spec }) => graphOfSpec(spec));
  }
  const name = checkedName(word);
  const client = await openController({ start: "ifStacks" });
  if (client === null) throw new StackError("stack-unknown", `there is no stack "${name}"`);
  return [graphOfTable((await client.describe(name, { signal: interrupted })).table)];
}

export async function run(invocation: Invocation): Promise<ExitStatus> {
  const { options, terminal } = invocation;
  const graphs = await graphsOf(invocation);
  if (graphs === null) return 2;
  terminal.out.write(await draw(graphs, options.output));
  return 0;
}
