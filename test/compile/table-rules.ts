/** What holds for every table, whatever stack it was made of. Used by property tests here and elsewhere. */
import { expect } from "vitest";
import { depthOf } from "../../src/compile/limits.js";
import { type Device, NBD_DEVICE, type Table } from "../../src/compile/table.js";
import { leavesOf } from "../../src/plan/content.js";

const isPowerOfTwo = (n: number) => n > 0 && Number.isInteger(Math.log2(n));

export function expectSoundDevice(device: Device): void {
  expect(new Set(device.layers.map((layer) => layer.name)).size).toBe(device.layers.length);
  expect(depthOf(device)).toBeLessThanOrEqual(8);
  const parents = device.layers.map(() => 0);
  device.layers.forEach((layer, index) => {
    for (const child of layer.children) {
      expect(child).toBeGreaterThan(index);
      expect(child).toBeLessThan(device.layers.length);
      parents[child] = (parents[child] ?? 0) + 1;
    }
    const g = layer.geometry;
    expect(isPowerOfTwo(g.logicalBlockBytes) && g.logicalBlockBytes <= 4096).toBe(true);
    expect(g.physicalBlockBytes % g.logicalBlockBytes).toBe(0);
    expect(g.ioMinBytes % g.physicalBlockBytes).toBe(0);
    expect(g.ioOptBytes % g.physicalBlockBytes).toBe(0);
    expect(g.discardGranularityBytes === 0).toBe(g.maxDiscardBytes === 0);
    expect(g.fua && !g.volatileCache).toBe(false);
    expect(layer.sizeBytes).toBeGreaterThan(0);
    expect(layer.sizeBytes % g.logicalBlockBytes).toBe(0);
  });
  const roots = new Set(device.exports.map((entry) => entry.root));
  // Every layer is there for a reason, and one that several parents share is never written.
  parents.forEach((count, index) => {
    expect(count > 0 || roots.has(index)).toBe(true);
    if (count > 1) expect(device.layers[index]?.readOnly).toBe(true);
  });
  const opened = device.layers.filter((layer) => layer.params.device !== undefined);
  expect(opened.map((layer) => layer.params.device).sort()).toEqual([...device.opens].sort());
  expect(opened.every((layer) => layer.type === "block" && layer.children.length === 0)).toBe(true);
}

export function expectSoundTable(table: Table): void {
  const below = new Set<string>();
  const writers = new Map<string, string>();
  const openers = new Map<string, string>();
  for (const device of table.devices) {
    expectSoundDevice(device);
    for (const name of device.opens) {
      expect(below.has(name)).toBe(true);
      const leaf = device.layers.find((layer) => layer.params.device === name);
      const target = table.devices.find((other) => other.name === name);
      expect(leaf?.sizeBytes).toBe(target?.layers[0]?.sizeBytes);
      expect(leaf?.geometry).toEqual(target?.layers[0]?.geometry);
      if (leaf?.readOnly) continue;
      // A device that is written through has one writer, and lets itself be written.
      expect(target?.exports[0]?.readOnly).toBe(false);
      expect(openers.get(name)).toBeUndefined();
      openers.set(name, device.name);
    }
    below.add(device.name);
    for (const leaf of leavesOf(device)) {
      if (!leaf.readOnly) {
        expect(writers.get(leaf.place)).toBeUndefined();
        writers.set(leaf.place, device.name);
      }
    }
    if (device.frontend === "ublk") {
      expect(device.exports).toHaveLength(1);
      expect(device.exports[0]?.root).toBe(0);
      expect(device.name).toBe(device.layers[0]?.name);
      expect(device.nbd).toBeNull();
    } else {
      expect(device.name).toBe(NBD_DEVICE);
      expect(device.ublk).toBeNull();
    }
  }
  // What one server writes, no other server has open.
  for (const device of table.devices) {
    for (const leaf of leavesOf(device)) {
      const writer = writers.get(leaf.place);
      expect(writer === undefined || writer === device.name).toBe(true);
    }
  }
}
