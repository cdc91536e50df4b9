/** Snapshots: which layer is meant, who stands on it and uses it, and that no change is asked for twice. */

import { createServer } from "node:net";
import { describe, expect, it, onTestFinished } from "vitest";
import type { Device, Table } from "../../src/compile/table.js";
import { ControllerClient } from "../../src/reconcile/client.js";
import type { StackView } from "../../src/reconcile/observe.js";
import { controllerSocket, ensurePrivateFolder } from "../../src/reconcile/paths.js";
import { findAbove, usersOf } from "../../src/reconcile/snapshot-users.js";
import { findImageLayer } from "../../src/reconcile/snapshots.js";
import { Sandbox } from "./sandbox.js";

/** NAME, TYPE, children; with a fourth, the device that a block leaf opens. */
type Row = readonly [name: string, type: string, children: readonly number[], opens?: string];

function device(name: string, rows: readonly Row[], exports: Record<string, number>): Device {
  const frontend = name === "@nbd" ? "nbd" : "ublk";
  return {
    name,
    frontend,
    layers: rows.map(([layer, type, children, opened]) => ({
      name: layer,
      type,
      sizeBytes: 4096,
      readOnly: false,
      children: [...children],
      geometry: {} as Device["layers"][number]["geometry"],
      params: opened === undefined ? {} : { device: opened },
    })),
    exports: Object.entries(exports).map(([shown, root]) => ({ name: shown, root, readOnly: false })),
    ublk: null,
    nbd: null,
    access: { owner: null, group: null, mode: "0600" },
    opens: rows.flatMap(([, , , opened]) => opened ?? []),
  };
}
const tableOf = (...devices: Device[]): Table => ({ stack: "s", devices }) as unknown as Table;

const DISK = device(
  "disk",
  [
    ["disk", "qcow2", [1]],
    ["disk.base", "file", []],
  ],
  { disk: 0 },
);
const LAYERED = tableOf(
  DISK,
  device(
    "@nbd",
    [
      ["part", "partition", [1]],
      ["wide", "linear", [2]],
      ["disk", "block", [], "disk"],
    ],
    {
      part: 0,
      wide: 1,
    },
  ),
);

const above = (table: Table) => findAbove(table, findImageLayer("s", "disk", table));

describe("the layer", () => {
  it("is the one with the image, not the device that another one opens", () => {
    const { device: found, index } = findImageLayer("s", "disk", LAYERED);
    expect([found.name, index]).toEqual(["disk", 0]);
  });

  it("has to be there, and has to be an image", () => {
    expect(() => findImageLayer("s", "disc", LAYERED)).toThrow(
      /no layer "disc"; it has disk, disk.base, part, wide/,
    );
    expect(() => findImageLayer("s", "wide", LAYERED)).toThrow(/of type linear: only qcow2 has snapshots/);
  });
});

describe("above it", () => {
  it("are all exports that show it, through the devices that open each other", () => {
    const { remembering, exports } = above(LAYERED);
    expect(remembering).toEqual([]);
    expect(exports.map(({ name }) => name).sort()).toEqual(["disk", "part", "wide"]);
  });

  it.each(["mirror", "cow", "qcow2", "logwrites", "a-type-of-tomorrow"])("%s relies on its bytes", (type) => {
    const over = device(
      "@nbd",
      [
        ["top", "linear", [1]],
        ["over", type, [2]],
        ["disk", "qcow2", []],
      ],
      { top: 0 },
    );
    expect(above(tableOf(over)).remembering.map(({ name }) => name)).toEqual(["over"]);
  });

  it("is not what stands beside it in the same server", () => {
    const both = device(
      "@nbd",
      [
        ["disk", "qcow2", [2]],
        ["other", "mirror", [3]],
        ["a", "file", []],
        ["b", "file", []],
      ],
      {
        disk: 0,
        other: 1,
      },
    );
    const { remembering, exports } = above(tableOf(both));
    expect(remembering).toEqual([]);
    expect(exports.map(({ name }) => name)).toEqual(["disk"]);
  });
});

describe("users", () => {
  const view = (disk: readonly string[], clients: Record<string, number>): StackView => {
    const exports = Object.entries(clients).map(([name, count]) => ({ name, clients: count }));
    const devices = new Map([
      ["disk", { users: disk, serverPid: 10, report: null }],
      ["@nbd", { users: [], serverPid: 11, report: { exports } }],
    ]);
    return { devices } as unknown as StackView;
  };

  it("are clients of those exports and whoever has the device open, but not the stack's own servers", () => {
    const opened = ["opened by ublk-stack-serv (process 11)", "opened by dd (process 111)"];
    expect(usersOf(above(LAYERED), view(opened, { wide: 2, part: 1, elsewhere: 3 })).sort()).toEqual([
      'export "part" has 1 client',
      'export "wide" has 2 clients',
      "opened by dd (process 111)",
    ]);
    expect(usersOf(above(LAYERED), view([], { wide: 0, part: 0 }))).toEqual([]);
  });
});

it("a change is asked for once: a controller that ends before it answers may have made it", async () => {
  const { paths } = new Sandbox();
  ensurePrivateFolder(paths.runDir);
  let requests = 0;
  const server = createServer((socket) =>
    socket.once("data", () => {
      requests += 1;
      socket.destroy();
    }),
  );
  await new Promise<void>((resolve) => server.listen(controllerSocket(paths), resolve));
  onTestFinished(() => void server.close());
  let starts = 0;
  const client = new ControllerClient(controllerSocket(paths), async () => {
    starts += 1;
  });
  const request = { verb: "create", name: "x" } as const;
  await expect(client.changeSnapshots("s", "disk", request)).rejects.toThrow("ended before it answered");
  expect([requests, starts]).toEqual([1, 0]);
  await expect(client.snapshots("s", "disk")).rejects.toThrow("ended before it answered");
  expect([requests, starts]).toEqual([3, 1]);
});
