/** config.json of a server for one stack, as compiler and controller make it, without a controller. */
import { compile } from "../compile/compile.js";
import type { Media } from "../compile/media.js";
import type { Device } from "../compile/table.js";
import { parseStacks } from "../spec/index.js";

/** Paths are absolute. Every block layer gets the same media; the table's first device is served. */
export function serverConfig(
  name: string,
  spec: object,
  options: { runDir: string; stateDir?: string; media?: Media },
): { table: Device; runtime: object } {
  const document = { apiVersion: "ublk-stack/v1", kind: "Stack", metadata: { name }, spec };
  const parsed = parseStacks(JSON.stringify(document), "bench").documents[0]?.spec;
  if (parsed === undefined) throw new Error(`the benchmark's own stack ${name} is not valid`);
  const { media } = options;
  const { table } = compile(parsed, {
    media: new Map(media === undefined ? [] : [...parsed.layers.keys()].map((layer) => [layer, media])),
    host: { ublk: true, cpus: 1 },
  });
  const device = table?.devices[0];
  if (device === undefined) throw new Error(`the benchmark's own stack ${name} does not compile`);
  const paths = Object.fromEntries(
    device.layers
      .filter((layer) => layer.params.path !== undefined)
      .map((layer) => [layer.name, String(layer.params.path)]),
  );
  const { runDir } = options;
  return {
    table: device,
    runtime: {
      stack: name,
      runDir,
      stateDir: options.stateDir ?? runDir,
      logFile: "",
      paths,
      nbdSocket: `${runDir}/nbd.sock`,
      tag: "5542000000000001",
      bootId: "",
      // Nothing to be copied before the figures count.
      blank: device.layers.map((layer) => layer.name),
    },
  };
}
