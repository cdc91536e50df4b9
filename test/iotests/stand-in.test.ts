/** What of a call of qemu-io comes to us, and by which way: a mistake here would let QEMU pass its own tests. */
import { describe, expect, it } from "vitest";
import { parseProgram } from "./command-line.mjs";
import { driversOwn, stepsOf } from "./steps.mjs";

const image = (...argv: string[]) => parseProgram(argv).image;
const ways = (first: string, ...commands: string[]) =>
  stepsOf(image(first), commands).map(({ image: at, through, why, commands: its }) => [
    at?.path ?? null,
    through,
    why,
    its,
  ]);

describe("the image", () => {
  it("is a file of format qcow2, or of the one that it begins as", () => {
    expect(image("--cache", "none", "-f", "qcow2", "-r", "/a")).toMatchObject({
      path: "/a",
      format: "qcow2",
      readOnly: true,
      foreign: "",
      kept: ["--read-only", "--cache", "none"],
      args: ["--cache", "none", "-f", "qcow2", "-r", "/a"],
    });
    expect(image("file:/a")).toMatchObject({ path: "/a", format: null, foreign: "" });
    const options = "driver=qcow2,file.driver=file,file.filename=/a,,b,l2-cache-size=1M";
    expect(image("--image-opts", options)).toMatchObject({ path: "/a,b", format: "qcow2", foreign: "" });
    const json = '{"driver":"qcow2","file":{"driver":"file","filename":"/a"}}';
    expect(image(`json:${json}`)).toMatchObject({ path: "/a", format: "qcow2", foreign: "" });
  });

  it.each([
    ["-f", "raw", "/a"],
    ["blkdebug::/a"],
    ["nbd://host/a"],
    ["-C", "/a"],
    ["-U", "/a"],
    ["--object", "secret,id=s,data=d", "/a"],
    ["--image-opts", "driver=qcow2,file.driver=blkdebug,file.image.filename=/a"],
    ["--image-opts", "driver=qcow2,file.filename=/a,encrypt.key-secret=s"],
  ])("is QEMU's own matter: %s %s %s", (...argv) => {
    expect(image(...argv)?.foreign).not.toBe("");
  });
});

describe("commands", () => {
  it("come to us but for those that NBD cannot say, each in its turn", () => {
    const commands = [
      "write -P 1 0 4k",
      "map",
      "write -c 0 64k",
      "read -b 0 1k",
      "aio_read 0 1k",
      "discard 0 1k",
    ];
    expect(ways("/a", ...commands)).toEqual([
      ["/a", "server", "", ["write -P 1 0 4k"]],
      ["/a", "qemu", "", ["map"]],
      ["/a", "qemu", "write -c: compressed writes", ["write -c 0 64k"]],
      ["/a", "qemu", "-b: the state of a machine", ["read -b 0 1k"]],
      ["/a", "server", "", ["aio_read 0 1k", "discard 0 1k"]],
    ]);
  });

  it("open the image even if nothing follows, and others after it", () => {
    expect(ways("/a")).toEqual([["/a", "server", "", []]]);
    expect(ways("/a", "close", "open -r /b", "read 0 1k", "quit", "read 0 2k")).toEqual([
      ["/a", "server", "", []],
      ["/b", "server", "", ["read 0 1k"]],
    ]);
  });

  it("of QEMU's driver keep the whole call from us", () => {
    expect(driversOwn(["read 0 1k", "reopen -r"])).toBe("reopen");
    expect(driversOwn(["read 0 1k"])).toBe("");
  });
});
