import { defineConfig } from "vitest/config";

/**
 * Three suites that differ in what they need: nothing, the native build, a virtual machine. Two files of a suite run side
 * by side. (A project's own fileParallelism would be ignored: vitest looks at that of the whole only.)
 */
export default defineConfig({
  test: {
    maxWorkers: 2,
    minWorkers: 1,
    projects: [
      {
        test: {
          name: "unit",
          include: ["test/{spec,compile,plan,reconcile,core,bpf,cli,crash}/**/*.test.ts", "test/*.test.ts"],
          testTimeout: 60_000,
        },
      },
      {
        test: {
          name: "host",
          include: ["test/{native,qcow2,nbd,device,torture}/**/*.test.ts", "test/iotests/stand-in.test.ts"],
          testTimeout: 180_000,
          hookTimeout: 120_000,
        },
      },
      {
        test: {
          name: "iotests",
          include: ["test/iotests/iotests.test.ts"],
        },
      },
      {
        test: {
          name: "vm",
          include: ["test/vm/**/*.test.ts"],
          testTimeout: 900_000,
          hookTimeout: 1_200_000,
        },
      },
    ],
  },
});
