/** What the server program says about the kernel that runs here; test/vm tries kernels where it works. */
import { execFile } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { promisify } from "node:util";
import { describe, expect, it } from "vitest";
import { parseBtfStructs } from "../../src/cli/doctor/btf.js";
import { serverProgram } from "../../src/native.js";

const run = promisify(execFile);
const BTF = "/sys/kernel/btf/vmlinux";
const isKnownHere =
  existsSync(BTF) && parseBtfStructs(readFileSync(BTF), ["io_uring_bpf_ops"]).has("io_uring_bpf_ops");

describe("ublk-stack-server --probe-engine", () => {
  it("answers with one line of JSON, whatever the kernel", async () => {
    const { stdout, stderr } = await run(serverProgram(), ["--probe-engine"]);
    expect(stderr).toBe("");
    expect(stdout.endsWith("}\n")).toBe(true);
    expect(JSON.parse(stdout)).toEqual({
      engine: "uring-bpf",
      works: expect.any(Boolean),
      reason: expect.stringMatching(/^\S.*\S$/),
      log: expect.any(String),
    });
  });

  it("names what a kernel lacks that cannot do it", async ({ skip }) => {
    skip(isKnownHere, "this kernel has io_uring_bpf_ops");
    const { stdout } = await run(serverProgram(), ["--probe-engine"]);
    expect(JSON.parse(stdout)).toMatchObject({
      works: false,
      reason: expect.stringMatching(/io_uring_bpf_ops|CONFIG_DEBUG_INFO_BTF|io_uring_setup/),
      log: "",
    });
  });

  it("takes no file with it", async () => {
    await expect(run(serverProgram(), ["--probe-engine", "config.json"])).rejects.toMatchObject({ code: 2 });
  });
});
