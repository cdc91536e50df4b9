import { stripVTControlCharacters } from "node:util";
import { Ajv2020 } from "ajv/dist/2020.js";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { parse } from "yaml";
import { PUBLISHED_STATUS_SCHEMA } from "../../src/reconcile/status-schema.js";
import { parseStacks } from "../../src/spec/index.js";
import { type FakeController, type Script, startFakeController } from "./fake-controller.js";
import { cli, ESCAPE, onTerminal, shell, temporaryFolder, userEnv } from "./harness.js";
import { DEGRADED, DEMO_YAML, demoTable, HEALTHY } from "./items.js";

let env: Record<string, string>;
let controller: FakeController | undefined;

beforeEach(() => {
  env = userEnv(temporaryFolder());
});
afterEach(async () => {
  await controller?.close();
  controller = undefined;
});

async function given(script: Script): Promise<void> {
  controller = await startFakeController(env, script);
}

const document = parseStacks(DEMO_YAML, "demo.yaml").documents[0]?.document ?? {};

describe("status", () => {
  it("is calm where there is nothing", async () => {
    expect(await cli(["status"], { env })).toEqual({
      status: 0,
      stdout: "",
      stderr: "No stacks. `ublk-stack apply FILE` makes one.\n",
    });
    const json = await cli(["status", "-o", "json"], { env });
    expect(JSON.parse(json.stdout)).toEqual({ apiVersion: "ublk-stack/v1", kind: "List", items: [] });
    const unknown = await cli(["status", "nope"], { env });
    expect(unknown.status).toBe(1);
    expect(unknown.stderr).toContain('error: there is no stack "nope" [stack-unknown]');
  });

  it("prints one aligned line per export", async () => {
    await given({ items: [DEGRADED, HEALTHY] });
    const { status, stdout, stderr } = await cli(["status"], { env });
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    expect(stdout).toMatchInlineSnapshot(`
      "STACK    EXPORT   STATUS           SIZE     ACCESS   WHERE
      broken   data     Ready,Degraded   512MiB   rw       /dev/ublk-stack/broken/data
      demo     data     Ready            512MiB   rw       nbd+unix:///data?socket=/run/ublk-stack/stacks/demo/nbd.sock
      "
    `);
  });

  it("prints more when asked for wide", async () => {
    await given({ items: [DEGRADED, HEALTHY] });
    expect((await cli(["status", "-o", "wide"], { env })).stdout).toMatchInlineSnapshot(`
      "STACK    EXPORT   STATUS           SIZE     ACCESS   WHERE                                                          LAYER   COMPOSE   DEVICE        CLIENTS   PID   UP      RESTARTS   MEMORY
      broken   data     Ready,Degraded   512MiB   rw       /dev/ublk-stack/broken/data                                    safe    fused     /dev/ublkb3   -         201   1d1h    4          10.5MiB
      demo     data     Ready            512MiB   rw       nbd+unix:///data?socket=/run/ublk-stack/stacks/demo/nbd.sock   safe    fused     -             2         101   3m12s   0          9MiB
      "
    `);
  });

  it("prints everything about one stack", async () => {
    await given({ items: [DEGRADED, HEALTHY] });
    expect((await cli(["status", "demo"], { env })).stdout).toMatchInlineSnapshot(`
      "demo  Ready  fused

      EXPORT   LAYER   STATUS   SIZE     ACCESS   CLIENTS   WHERE
      data     safe    Ready    512MiB   rw       2         nbd+unix:///data?socket=/run/ublk-stack/stacks/demo/nbd.sock

      MIRROR   MEMBER   STATE
      safe     wide     in-sync
      safe     d2       in-sync

      SERVER   STATUS   PID   UP      RESTARTS   MEMORY
      @nbd     Ready    101   3m12s   0          9MiB

      QUEUE    ENGINE   REQUESTS   IN-KERNEL   TO-SERVER   IN-FLIGHT   ENTERS
      @nbd/0   native   12.0k      -           -           0           3000

      LAYER   TYPE     READS   READ      WRITES   WRITTEN   FLUSHES   DISCARDS   ERRORS
      safe    mirror   10.0k   39.1MiB   2000     7.8MiB    7         0          0
      wide    stripe   5000    19.5MiB   2000     7.8MiB    7         0          0
      d0      file     2500    9.8MiB    1000     3.9MiB    7         0          0
      d1      file     2500    9.8MiB    1000     3.9MiB    7         0          0
      d2      memory   5000    19.5MiB   2000     7.8MiB    7         0          0

      files relative to /srv/stacks
      log /var/lib/ublk-stack/logs/demo.log
      "
    `);
    expect((await cli(["status", "broken"], { env })).stdout).toMatchInlineSnapshot(`
      "broken  Ready,Degraded  fused
        Degraded: mirror "safe": member "d2" is not in sync: write failed: EIO

      EXPORT   LAYER   STATUS   SIZE     ACCESS   CLIENTS   WHERE
      data     safe    Ready    512MiB   rw       -         /dev/ublkb3  /dev/ublk-stack/broken/data

      MIRROR   MEMBER   STATE
      safe     wide     in-sync
      safe     d2       syncing 25%   write failed: EIO

      SERVER   STATUS   PID   UP     RESTARTS   MEMORY
      safe     Ready    201   1d1h   4          10.5MiB

      QUEUE    ENGINE      REQUESTS   IN-KERNEL   TO-SERVER   IN-FLIGHT   ENTERS
      safe/0   uring-bpf   500        480         15          1           21
      safe/1   uring-bpf   500        480         15          1           21

      LAYER   TYPE     READS   READ   WRITES   WRITTEN   FLUSHES   DISCARDS   ERRORS
      d2      memory   0       0B     0        0B        7         0          12.3k EIO

      files relative to /srv/stacks
      log /var/lib/ublk-stack/logs/demo.log
      "
    `);
  });

  it("gives programs what the published schema promises, in JSON and in YAML", async () => {
    await given({ items: [HEALTHY, DEGRADED] });
    const json = JSON.parse((await cli(["status", "-o", "json"], { env })).stdout);
    const validate = new Ajv2020({ strict: false }).compile(PUBLISHED_STATUS_SCHEMA);
    validate(json);
    expect(validate.errors).toBeNull();
    expect(json.items[0].status.exports.data.uri).toBe(
      "nbd+unix:///data?socket=/run/ublk-stack/stacks/demo/nbd.sock",
    );
    expect(parse((await cli(["status", "-o", "yaml"], { env })).stdout)).toEqual(json);
    expect((await cli(["status", "-o", "name"], { env })).stdout).toBe("stack/demo\nstack/broken\n");
    const one = JSON.parse((await cli(["status", "broken", "-o", "json"], { env })).stdout);
    expect(one.items).toEqual([DEGRADED]);
  });

  it("colours a terminal, keeps its columns aligned, and sends no escape codes down a pipe", async () => {
    await given({ items: [HEALTHY] });
    const { stdout } = await onTerminal(["status"], { env });
    expect(stdout).toContain(`${ESCAPE}32mReady${ESCAPE}39m`);
    const plain = (await cli(["status"], { env })).stdout;
    expect(plain).not.toContain(ESCAPE);
    expect(stripVTControlCharacters(stdout).replaceAll("\r", "")).toBe(plain);
  });

  it("survives a reader that goes away", async () => {
    await given({ items: Array.from({ length: 5000 }, () => HEALTHY) });
    const { status, stdout, stderr } = await shell("ublk-stack status | head -n 1; echo $PIPESTATUS", {
      env,
    });
    expect(stderr).toBe("");
    expect(stdout.split("\n")).toEqual([expect.stringMatching(/^STACK/), "0", ""]);
    expect(status).toBe(0);
  });
});

describe("explain", () => {
  it("says where each layer runs and why", async () => {
    await given({
      items: [HEALTHY, DEGRADED],
      descriptions: {
        demo: { name: "demo", document: { ...document }, baseDir: "/srv/stacks", table: demoTable(false) },
        broken: { name: "broken", document: { ...document }, baseDir: "/srv/stacks", table: demoTable(true) },
      },
    });
    expect((await cli(["explain", "demo"], { env })).stdout).toMatchInlineSnapshot(`
      "demo: 1 device, fused: layers without an export of their own cost no hop

      @nbd is nbd, server 101: serves "data"
        at nbd+unix:///data?socket=/run/ublk-stack/stacks/demo/nbd.sock
        1 queue: engine native, 12.0k requests 4.0 requests per io_uring_enter
          why: NBD clients speak to a process
          socket: data goes through the client's connection
        layers:
          safe mirror 512MiB → wide, d2 [block 512B, io 64KiB/128KiB, discards]
            wide stripe 512MiB → d0, d1 (chunk 64KiB) [block 512B, io 64KiB/128KiB, discards]
              d0 file 256MiB → path d0.img, direct auto [block 512B, io 4KiB, discards]
              d1 file 256MiB → path d1.img, direct auto [block 512B, io 4KiB, discards]
            d2 memory 512MiB [block 512B, io 512B, discards]
      "
    `);
    expect((await cli(["explain", "broken"], { env })).stdout).toMatchInlineSnapshot(`
      "demo: 1 device, fused: layers without an export of their own cost no hop

      safe is ublk, server 201: serves "data"
        at /dev/ublkb3
        2 queues: engine uring-bpf, 1000 requests 23.8 requests per io_uring_enter
          why: requests are carried out in the kernel's io_uring loop
          done in the kernel: 960 requests (96%) in 1400 runs of the program, 1.9ms while that was measured
          left to the server: 30 requests
            24 operation: discard or write-zeroes, which the server does
            6 failure: IO failed or came short; the server tries again and counts the error
          zero copy: the driver registers a request's pages with the ring, leaves read and write them directly
        layers:
          safe mirror 512MiB → wide, d2 [block 512B, io 64KiB/128KiB, discards]
            wide stripe 512MiB → d0, d1 (chunk 64KiB) [block 512B, io 64KiB/128KiB, discards]
              d0 file 256MiB → path d0.img, direct auto [block 512B, io 4KiB, discards]
              d1 file 256MiB → path d1.img, direct auto [block 512B, io 4KiB, discards]
            d2 memory 512MiB [block 512B, io 512B, discards]
      "
    `);
    const value = JSON.parse((await cli(["explain", "broken", "-o", "json"], { env })).stdout);
    expect(value.devices[0].queues).toEqual([
      {
        engine: "uring-bpf",
        reason: "requests are carried out in the kernel's io_uring loop",
        copyMode: "auto-zero-copy",
        queues: 2,
        requests: 1000,
        enters: 42,
        requestsPerEnter: 1000 / 42,
        kernel: {
          requests: 960,
          redirected: { operation: 24, layer: 0, failure: 6, buffer: 0, size: 0, flush: 0 },
          enters: 2,
          steps: 1400,
          polls: 10,
          programNs: 1_920_000,
        },
      },
    ]);
  });
});

describe("graph of what runs", () => {
  it("shows devices as boxes", async () => {
    await given({
      descriptions: {
        demo: { name: "demo", document: { ...document }, baseDir: "/", table: demoTable(true) },
      },
    });
    const { status, stdout } = await cli(["graph", "demo", "-o", "dot"], { env });
    expect(status).toBe(0);
    expect(stdout).toContain("ublk device safe");
  });
});

describe("wait", () => {
  it("asks for the condition, with the time that it may take", async () => {
    await given({ items: [HEALTHY], wait: () => HEALTHY });
    expect(await cli(["wait", "demo"], { env })).toEqual({
      status: 0,
      stdout: "stack/demo ready\n",
      stderr: "",
    });
    await cli(["wait", "--for=synced", "demo", "--timeout", "1h30m"], { env });
    const urls = controller?.asked.map(({ url }) => url).filter((url) => url.includes("wait"));
    expect(urls).toEqual([
      "/v1/stacks/demo/wait?for=ready&timeoutMs=60000",
      "/v1/stacks/demo/wait?for=synced&timeoutMs=5400000",
    ]);
  });

  it("waits for all, and reports each that fails", async () => {
    await given({
      items: [HEALTHY, DEGRADED],
      wait: ({ url }) =>
        url.includes("demo")
          ? HEALTHY
          : {
              error: {
                code: "timeout",
                message: 'waited 60 s for device "safe" of stack "broken"',
                details: {},
                findings: [],
              },
            },
    });
    const { status, stdout, stderr } = await cli(["wait", "--all"], { env });
    expect({ status, stdout }).toEqual({ status: 1, stdout: "stack/demo ready\n" });
    expect(stderr).toBe(
      'error: waited 60 s for device "safe" of stack "broken" [timeout]\n  cure: The message says what was waited for. --timeout gives it longer\n',
    );
  });

  it("has nothing to wait for where there is nothing", async () => {
    expect(await cli(["wait", "--all"], { env })).toEqual({ status: 0, stdout: "", stderr: "" });
  });
});

describe("controller and version", () => {
  it("stops the one that runs", async () => {
    await given({});
    expect((await cli(["controller", "stop"], { env })).stdout).toBe(
      "controller 4711 stopped; its servers go on\n",
    );
    await controller?.close();
    expect(await cli(["controller", "stop"], { env })).toEqual({
      status: 0,
      stdout: "",
      stderr: "No controller runs.\n",
    });
  });

  it("tells program and controller apart", async () => {
    const alone = JSON.parse((await cli(["version", "-o", "json"], { env })).stdout);
    expect(alone).toMatchObject({ client: { node: process.versions.node }, controller: null });
    await given({});
    expect((await cli(["version"], { env })).stdout).toMatch(
      /controller 9\.9\.9 \(build 9\.9\.9-fake, pid \d+\)\n$/,
    );
  });
});
