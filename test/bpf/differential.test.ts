/**
 * One truth, three engines. test/bpf/differential draws random stacks and requests and gives them to the native walker,
 * to both BPF engines (BPF_PROG_TEST_RUN: the real verifier, the real JIT) and to a plain model; every piece has to be
 * the same, in the same order. Each engine counts what it did itself, and wrong answers put in on purpose are found.
 * Where the kernel takes no BPF from us, what needs it is skipped aloud.
 */
import { execFile } from "node:child_process";
import { randomInt } from "node:crypto";
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";

const here = import.meta.dirname;
const project = resolve(here, "../..");
const build = join(project, "native/build/Differential");
const folder = mkdtempSync(join(tmpdir(), "differential-"));
// Hundreds of files, on a disk that others may keep busy.
afterAll(() => rmSync(folder, { recursive: true }), 120_000);

/** What the program says when this host cannot run BPF. */
const EXIT_UNAVAILABLE = 77;
const TESTS = 5;

interface Outcome {
  status: number;
  stdout: string;
  stderr: string;
}

// Not synchronously: the test runner has to be able to talk meanwhile.
const run = (command: string, ...args: string[]) =>
  new Promise<Outcome>((done) => {
    execFile(command, args, { maxBuffer: 64 << 20 }, (error, stdout, stderr) => {
      const status = error === null ? 0 : typeof error.code === "number" ? error.code : -1;
      done({ status, stdout, stderr });
    });
  });
const differential = (object: string, ...args: string[]) =>
  run(join(build, "differential"), "--object", object, ...args);
const program = join(build, "walk_object.o");
const vectors = readdirSync(join(here, "../vectors"))
  .filter((file) => file.endsWith(".json"))
  .flatMap((file) => ["--vectors", join(here, "../vectors", file)]);

let unavailable = "";

beforeAll(async () => {
  const made = await run("bash", join(here, "differential/build.sh"));
  expect(made.status, made.stderr).toBe(0);
  const none = ["--cases", "0", "--loads", "0", "--hostile", "0"];
  const probe = await differential(program, ...none);
  if (probe.status !== EXIT_UNAVAILABLE) return;
  unavailable = probe.stderr.replace("SKIPPED: ", "").trim();
  console.warn(`SKIPPED: ${TESTS} tests of BPF programs in the kernel: ${unavailable}`);
}, 600_000);

describe("the engines", () => {
  beforeEach(({ skip }) => skip(unavailable !== "", unavailable));

  it("give the same pieces in the same order, for the vectors and for millions of random cases", {
    timeout: 600_000,
  }, async () => {
    const cases = 2_000_000;
    const loads = 200;
    const { status, stdout, stderr } = await differential(
      program,
      ...["--cases", String(cases), "--loads", String(loads), "--seed", String(randomInt(2 ** 40))],
      ...["--ublk-object", join(build, "ublk_object.o"), "--ublk-driver", join(build, "ublk_driver.o")],
      ...vectors,
    );
    expect(status, stderr).toBe(0);
    const said = JSON.parse(stdout);

    // Each ran, by its own count; the kernel counted the runs, and compiled the programs.
    expect(said.cases).toBeGreaterThanOrEqual(cases + loads * 128);
    expect(said.nativeWalks).toBeGreaterThanOrEqual(said.cases);
    expect(said.modelWalks).toBeGreaterThanOrEqual(said.cases);
    expect(said.bpfWalks).toBeGreaterThanOrEqual(cases);
    expect(said.bpfHeads).toBe(said.bpfWalks);
    expect(said.bpfHeadCalls).toBeGreaterThan(said.bpfHeads * 1.5); // CONTINUE was answered, again and again
    for (const engine of [said.walk, said.heads]) {
      expect(engine.runs).toBeGreaterThan(500);
      expect(engine.jitedBytes).toBeGreaterThan(1000);
    }
    // What was drawn is worth comparing.
    expect(said.deepest).toBe(8);
    expect(said.pieces).toBeGreaterThan(said.cases * 2);
    expect(said.redirected).toBeGreaterThan(said.cases / 100);
    expect(said.bySector).toBeGreaterThan(said.cases / 100);
    expect(said.loads).toBe(loads);
    expect(said.vectors).toBeGreaterThan(90);
    // Nor does a table of nonsense lead anywhere: see hostile_tables().
    expect(said.hostile).toBeGreaterThan(100_000);
    expect(said.hostileLoads).toBeGreaterThan(5);
    expect(said.hostileBad).toBeGreaterThan(said.hostile / 20);
    // The RFC's programs are loaded where there is the RFC, and nowhere else.
    expect(["absent", "loaded"]).toContain(said.ublkBpf);
    // Elsewhere the same code runs with a driver of our own, through splits, failures and what goes to the server.
    expect(said.ublk.requests).toBe(loads * 300);
    expect(said.ublk.pieces).toBeGreaterThan(said.ublk.requests / 4);
    expect(said.ublk.cut).toBeGreaterThan(100);
    expect(said.ublk.failed).toBeGreaterThan(1000);
    expect(said.ublk.jitedBytes).toBeGreaterThan(1000);
  });

  it("find a wrong answer of any of them, and the smallest case of it", { timeout: 300_000 }, async () => {
    for (const who of ["native", "walk", "heads", "model"]) {
      const { status, stderr } = await differential(
        program,
        "--cases",
        "200000",
        "--hostile",
        "0",
        "--plant",
        who,
      );
      expect(status, who).toBe(1);
      expect(stderr).toMatch(/--seed 1\b/);
      // Two pieces in the wrong order need two sectors and a layer that splits them, or two members of a mirror.
      expect(stderr).toMatch(
        /smallest case: write of layer 0 at 0, (512|1024) bytes\n( {2}layer \d: .*\n){2,3}(?! {2}layer)/,
      );
    }
  });

  it("find every mistake made in the core on its way into the kernel", { timeout: 600_000 }, async () => {
    for (const [number, mutant] of MUTANTS.entries()) {
      const object = await compileMutant(number, mutant);
      const { status, stderr } = await differential(
        object,
        ...["--cases", "400000", "--hostile", "0", "--loads", "0"],
      );
      expect(status, mutant.join("  ")).toBe(1);
      expect(stderr, mutant.join("  ")).toMatch(/DISAGREEMENT.*\n(.*\n)*smallest case/);
    }
  });

  it("find them by the vectors alone", { timeout: 600_000 }, async () => {
    const missed: string[] = [];
    for (const [number, mutant] of MUTANTS.entries()) {
      const object = await compileMutant(number, mutant);
      const { status } = await differential(
        object,
        ...["--cases", "0", "--hostile", "0", "--loads", "0", ...vectors],
      );
      if (status !== 1) missed.push(mutant.join("  "));
    }
    expect(missed).toEqual([]);
  });

  it("find every mistake made in what ublk-bpf does with its pieces", { timeout: 600_000 }, async () => {
    for (const [number, mutant] of UBLK_MUTANTS.entries()) {
      const root = mutate(1000 + number, mutant);
      const object = join(root, "ublk_driver.o");
      const { stdout: libbpf } = await run("bash", join(project, "deploy/libbpf.sh"));
      const made = await run(
        "clang",
        ...["-target", "bpf", "-mcpu=v3", "-O2", "-g", "-std=gnu11", "-Wno-unused-parameter"],
        ...["-I", join(root, "native"), "-I", join(libbpf.trim(), "include")],
        ...["-c", join(here, "differential/ublk_driver.bpf.c"), "-o", object],
      );
      expect(made.status, made.stderr).toBe(0);
      const { status, stderr } = await differential(
        program,
        ...["--cases", "0", "--hostile", "0", "--loads", "80", "--ublk-driver", object],
      );
      expect(status, mutant.join("  ")).toBe(1);
      expect(stderr, mutant.join("  ")).toContain("DISAGREEMENT of engine ublk-bpf");
    }
  });
});

type Mutant = [file: string, from: string, to: string];

/** Each breaks the core as the BPF program sees it, and leaves the native one as it is. */
const MUTANTS: Mutant[] = [
  ["core/stripe.h", "(us_u32)(chunk % nr)", "(us_u32)((chunk + 1) % nr)"],
  ["core/stripe.h", "((chunk / nr) <<", "((chunk / nr + (nr > 2)) <<"],
  ["core/stripe.h", "us_min(length, (1ULL << chunk_shift) - within)", "us_min(length, 1ULL << chunk_shift)"],
  ["core/linear.h", "~(offset - begins) >> 63", "(begins - offset) >> 63"],
  ["core/linear.h", "end - offset)", "end - offset + 512)"],
  ["core/mirror.h", "offset < window_end", "offset <= window_end"],
  ["core/mirror.h", "offset + length > window_start", "offset + length >= window_start"],
  ["core/mirror.h", ">> 33", ">> 34"],
  ["core/mirror.h", "choices == 1 ? length : us_min", "us_min"],
  ["core/mirror.h", "if (!(US_READ_ONCE(live->gate) & US_LIVE_WRITE_OPEN))", "if (0)"],
  ["core/partition.h", "start + offset, length", "offset, length"],
  ["core/instrument.h", ">> (op & 31) & 1", "& 1"],
  [
    "core/instrument.h",
    "offset < US_READ_ONCE(live->window_end)",
    "offset <= US_READ_ONCE(live->window_end)",
  ],
  ["core/instrument.h", "offset + length > US_READ_ONCE", "offset + length >= US_READ_ONCE"],
  ["core/instrument.h", "if (looks && offset", "if (offset"],
  ["core/instrument.h", "looks ? us_step_redirect() : us_step_one(0, 0, 0, 0)", "us_step_one(0, 0, 0, 0)"],
  ["core/walk.h", ">> (child & 31) & 1", ">> 0 & 1"],
  ["core/walk.h", "frame->buffer += step.n", "frame->buffer += step.n & ~4096ULL"],
  ["core/head.h", "head->offset = step.offset", "head->offset = step.offset & ~512ULL"],
  ["bpf/map_request.h", "plan->nr_pieces = at + 1", "plan->nr_pieces = at + (at < 2)"],
];

const UBLK_MUTANTS: Mutant[] = [
  ["bpf/ublk_queue.h", "done + piece->buffer", "piece->buffer"],
  ["bpf/ublk_queue.h", "t->bytes = done;", "t->bytes = done + 512;"],
  ["bpf/ublk_queue.h", "t->error = 0;", ""],
  ["bpf/ublk_queue.h", "t->pending = 1;", "t->pending = 2;"],
  ["bpf/ublk_queue.h", "if (result != (long)aio->bytes) fail(t, result);", ""],
  ["bpf/ublk_queue.h", "if (writes && leaf->nowhere) return;", ""],
  ["bpf/ublk_queue.h", "(type) != US_TYPE_INSTRUMENT && ", ""],
  ["bpf/ublk_queue.h", "op == UBLK_IO_OP_WRITE && constants.read_only", "0"],
  ["bpf/ublk_queue.h", "offset + done, length - done", "offset, length - done"],
  ["bpf/ublk_queue.h", "length > constants.size_bytes - offset", "0"],
];

/** A copy of the core and of the programs with one mistake in it. */
function mutate(number: number, [file, from, to]: Mutant): string {
  const root = join(folder, String(number));
  for (const room of ["core", "bpf"]) {
    cpSync(join(project, "native", room), join(root, "native", room), { recursive: true });
  }
  rmSync(join(root, "deploy"), { force: true });
  symlinkSync(join(project, "deploy"), join(root, "deploy"));
  const path = join(root, "native", file);
  const text = readFileSync(path, "utf8");
  expect(text.split(from).length, `${file} has one "${from}"`).toBe(2);
  writeFileSync(path, text.replace(from, to));
  return root;
}

async function compileMutant(number: number, mutant: Mutant): Promise<string> {
  const root = mutate(number, mutant);
  const made = await run("bash", join(root, "native/bpf/compile.sh"), "walk", join(root, "walk_object.h"));
  expect(made.status, made.stderr).toBe(0);
  return join(root, "walk_object.o");
}
