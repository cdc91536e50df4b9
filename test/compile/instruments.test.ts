/** What instruments find wrong that the schema cannot see, and what becomes of their options. */

import { describe, expect, it } from "vitest";
import { ANY_WORLD, compile } from "../../src/compile/compile.js";
import { checkDocument } from "../../src/spec/index.js";

function compiled(type: string, options: Record<string, unknown>) {
  const layers = {
    disk: { memory: { size: "1MiB" } },
    top: { [type]: { base: "disk", ...options } },
  };
  const document = {
    apiVersion: "ublk-stack/v1",
    kind: "Stack",
    metadata: { name: "s" },
    spec: { layers, exports: { data: { layer: "top" } } },
  };
  const { spec, findings } = checkDocument(document);
  if (spec === null) throw new Error(JSON.stringify(findings));
  const { table, findings: more } = compile(spec, ANY_WORLD);
  return {
    says: more.map(({ path, code, message }) => `${path.slice(3).join(".")}: ${code}: ${message}`),
    params: table?.devices[0]?.layers[0]?.params,
  };
}

describe("delay", () => {
  it("says each operation's delay in nanoseconds", () => {
    const options = {
      read: "5us",
      write: { uniform: ["1ms", "3ms"] },
      flush: { normal: ["20ms", "0ns"] },
      discard: "trace",
      trace: "t.txt",
      order: "keep",
      length: "64KiB",
    };
    expect(compiled("delay", options)).toEqual({
      says: [],
      params: {
        read: "fixed 5000",
        write: "uniform 1000000 3000000",
        flush: "normal 20000000 0",
        discard: "trace",
        writeZeroes: "uniform 1000000 3000000",
        trace: "t.txt",
        keepOrder: true,
        startBytes: 0,
        lengthBytes: 65536,
        seed: 0,
      },
    });
  });

  it("delays nothing that is not said", () => {
    const { params } = compiled("delay", { flush: "1s" });
    expect(params).toEqual({ flush: "fixed 1000000000", keepOrder: false, startBytes: 0, seed: 0 });
  });

  it.each([
    [{ read: "trace" }, 'delay.read: missing-key: layer "top" names no trace'],
    [{ trace: "t.txt" }, 'delay.trace: unused-option: no operation of layer "top" goes by its trace'],
    [
      { write: { uniform: ["3ms", "1ms"] } },
      "delay.write.uniform: out-of-range: the least delay of a write is greater than the greatest",
    ],
  ])("%j", (options, message) => {
    expect(compiled("delay", options).says).toEqual([message]);
  });
});

describe("a range or schedule that strikes nothing", () => {
  const beyond = (what: string) => `${what}, and the layer has 1MiB`;
  it.each([
    ["error", { start: "512KiB", length: "512KiB" }, []],
    ["error", { up: "5s", down: "1s" }, []],
    ["error", { start: "1MiB" }, [beyond('error.start: out-of-range: the range of "top" begins at 1MiB')]],
    [
      "error",
      { start: "1020KiB", length: "8KiB" },
      [beyond('error.length: out-of-range: the range of "top" ends at 1028KiB')],
    ],
    ["error", { up: "5s" }, ['error.up: missing-key: "top" says up and not down']],
    ["error", { down: "5s" }, ['error.down: missing-key: "top" says down and not up']],
    [
      "delay",
      { read: "1s", start: "2MiB" },
      [beyond('delay.start: out-of-range: the range of "top" begins at 2MiB')],
    ],
    [
      "flakey",
      { dropWrites: { start: "2MiB" }, corruptReads: { up: "3s" } },
      [
        beyond('flakey.dropWrites.start: out-of-range: the range of dropWrites of "top" begins at 2MiB'),
        'flakey.corruptReads.up: missing-key: corruptReads of "top" says up and not down',
      ],
    ],
  ])("%s: %j", (type, options, messages) => {
    expect(compiled(type, options).says).toEqual(messages);
  });
});

describe("throttle", () => {
  it("has bytes and nanoseconds", () => {
    const options = { iops: 500, writeBandwidth: "20MiB", readBurst: "2s", iopsSize: "256KiB" };
    expect(compiled("throttle", options).params).toEqual({
      iops: 500,
      bandwidthBytes: 0,
      burstNs: 1e8,
      readIops: 0,
      readBandwidthBytes: 0,
      readBurstNs: 2e9,
      writeIops: 0,
      writeBandwidthBytes: 20 * 2 ** 20,
      iopsBytes: 2 ** 18,
    });
  });
});

describe("badblocks", () => {
  it("lists blocks as text", () => {
    const options = { blocks: [2, "8-15"], blockSize: "4KiB" };
    expect(compiled("badblocks", options)).toEqual({
      says: [],
      params: { blocks: "2,8-15", blockBytes: 4096, writeFailures: 0, enabled: true },
    });
  });

  it.each([
    [{ blocks: [2047] }, []],
    [
      { blocks: [1, 2048] },
      [
        'badblocks.blocks.1: out-of-range: there is no block 2048 in layer "top", which has 2048 of 512 bytes',
      ],
    ],
    [
      { blocks: ["0-256"], blockSize: "4KiB" },
      ['badblocks.blocks.0: out-of-range: there is no block 256 in layer "top", which has 256 of 4096 bytes'],
    ],
    [{ blocks: ["9-8"] }, ["badblocks.blocks.0: out-of-range: the range 9-8 ends before it begins"]],
  ])("%j", (options, messages) => {
    expect(compiled("badblocks", options).says).toEqual(messages);
  });
});
