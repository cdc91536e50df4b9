/** The addon through its only loader, on any host: with a ublk driver or without. */
import { existsSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { loadNative, type NativeError, serverProgram } from "../../src/native.js";

const native = loadNative();

describe("the native addon", () => {
  it("is loaded once, and stands beside the server program", () => {
    expect(loadNative()).toBe(native);
    expect(existsSync(serverProgram())).toBe(true);
  });

  it("says what io_uring can do here", async () => {
    const { supported, missing } = await native.uringProbe();
    expect(supported).toContain("READ_FIXED");
    expect(supported.filter((name) => missing.includes(name))).toEqual([]);
  });

  it("lists the driver's features and devices, or says that there is none", async () => {
    if (existsSync("/dev/ublk-control")) {
      expect(await native.features()).toContain("USER_RECOVERY");
      expect(Array.isArray(await native.listDevs())).toBe(true);
      expect(await native.getDevInfo(1_000_000)).toBeNull();
      return;
    }
    // All at once: a promise that fails while another one is awaited would be nobody's.
    const answers = await Promise.allSettled([
      native.features(),
      native.listDevs(),
      native.getDevInfo(0),
      native.stopDev(0, 10),
    ]);
    for (const answer of answers) {
      const error = answer.status === "rejected" ? (answer.reason as NativeError) : undefined;
      expect(error).toBeInstanceOf(Error);
      expect(error).toMatchObject({ code: "ENOENT", op: "open" });
      expect(error?.message).toContain("/dev/ublk-control");
    }
  });

  it.each([[-1], [1.5], [Number.NaN], [2 ** 32], ["0"]])("refuses %s as the number of a device", (id) => {
    expect(() => native.getDevInfo(id as number)).toThrow(TypeError);
    expect(() => native.delDev(0, id as number)).toThrow(TypeError);
  });
});
