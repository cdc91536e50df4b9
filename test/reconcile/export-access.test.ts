import { mkdtemp, readdir, readlink, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { linkPath, placeLink, pruneLinks, removeLink } from "../../src/reconcile/export-access.js";

describe("stable names", () => {
  let links: string;
  beforeEach(async () => {
    links = await mkdtemp(join(tmpdir(), "ublk-stack-links-"));
  });
  afterEach(() => rm(links, { recursive: true, force: true }));

  it("point to the device, move with it, and leave no folder behind", async () => {
    const path = linkPath(links, "demo", "data");
    await placeLink(path, "/dev/ublkb0");
    await placeLink(path, "/dev/ublkb3");
    expect(await readlink(path)).toBe("/dev/ublkb3");
    await removeLink(path);
    await expect(readdir(join(links, "demo"))).rejects.toThrow("ENOENT");
  });

  it("go with their exports, and others stay", async () => {
    await placeLink(linkPath(links, "demo", "old"), "/dev/ublkb0");
    await placeLink(linkPath(links, "demo", "data"), "/dev/ublkb1");
    await pruneLinks(join(links, "demo"), ["data"]);
    expect(await readdir(join(links, "demo"))).toEqual(["data"]);
  });

  it("are nothing to prune before the first export is there: a layered stack starts with its members", async () => {
    await expect(pruneLinks(join(links, "demo"), ["data"])).resolves.toBeUndefined();
  });
});
