/** `ublk-stack snapshot STACK/LAYER create|list|apply|delete`: snapshots inside the image of a layer that is served. */

import { StackError } from "../errors.js";
import { type ControllerClient, openController } from "../reconcile/client.js";
import { SNAPSHOT_CHANGES, type SnapshotChange, type SnapshotReply } from "../reconcile/snapshot-schema.js";
import { changeSignal } from "./common/change.js";
import type { ExitStatus, Invocation } from "./common/invocation.js";
import { type LayerName, layerOf } from "./common/layer-name.js";
import { isStructured, printValue } from "./common/structured.js";
import { clean } from "./render/clean.js";
import { renderSnapshots, snapshotValue } from "./render/snapshots.js";

interface Asking extends Invocation {
  readonly client: ControllerClient;
  readonly layer: LayerName;
}

const TIMEOUT_MS = 60_000;
const DONE: Readonly<Record<SnapshotChange, string>> = {
  create: "created",
  apply: "applied",
  delete: "deleted",
};

async function list({ client, layer, options, terminal, interrupted }: Asking): Promise<ExitStatus> {
  const { snapshots, underWay } = await client.snapshots(layer.stack, layer.name, { signal: interrupted });
  if (isStructured(options.output)) {
    const value = {
      layer: `${layer.stack}/${layer.name}`,
      snapshots: snapshots.map(snapshotValue),
      "under-way": underWay,
    };
    await printValue(value, options.output, terminal.out);
    return 0;
  }
  if (snapshots.length === 0) terminal.err.line(`${layer.stack}/${layer.name} has no snapshots`);
  else terminal.out.write(renderSnapshots(snapshots, terminal.out.colors));
  if (underWay !== null) terminal.err.line(`${underWay.verb} of "${clean(underWay.name)}" is under way`);
  return 0;
}

async function change(
  { client, layer, options, terminal, interrupted }: Asking,
  verb: SnapshotChange,
  name: string,
): Promise<ExitStatus> {
  const timeoutMs = options.timeout ?? TIMEOUT_MS;
  const request = { verb, name, force: options.force === true, timeoutMs };
  const signal = changeSignal(interrupted, timeoutMs);
  const { snapshot }: SnapshotReply = await client.changeSnapshots(layer.stack, layer.name, request, {
    signal,
  });
  const where = `${layer.stack}/${layer.name}`;
  if (isStructured(options.output)) {
    const made = snapshot === null ? {} : { snapshot: snapshotValue(snapshot) };
    await printValue({ layer: where, result: DONE[verb], name, ...made }, options.output, terminal.out);
  } else {
    const id = snapshot === null ? "" : ` (id ${clean(snapshot.id)})`;
    terminal.out.line(`${where} snapshot ${clean(name)}${id} ${terminal.out.colors.green(DONE[verb])}`);
  }
  return 0;
}

export async function run(invocation: Invocation): Promise<ExitStatus> {
  const [word = "", verb = "", ...names] = invocation.args;
  const layer = layerOf(word);
  if (layer === null) throw new StackError("usage", `"${word}" is not STACK/LAYER`);
  const changing = SNAPSHOT_CHANGES.find((one) => one === verb);
  const [name] = names;
  if (changing === undefined ? name !== undefined : name === undefined || name === "") {
    throw new StackError("usage", changing === undefined ? "list takes no name" : `${verb} needs a name`);
  }
  const { options } = invocation;
  if (options.force === true && verb !== "apply") throw new StackError("usage", "--force is for apply");
  const client = await openController({ start: "ifStacks" });
  if (client === null) throw new StackError("stack-unknown", `there is no stack "${layer.stack}"`);
  const asking: Asking = { ...invocation, client, layer };
  return changing === undefined ? list(asking) : change(asking, changing, name ?? "");
}
