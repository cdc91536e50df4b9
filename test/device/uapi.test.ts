/**
 * Our own declarations of ublk's ABI against the kernel's: every constant and every struct of uapi.h, by the compiler,
 * with the newest header of Debian's backports; the constants also with the header that this host has.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, describe, expect, it } from "vitest";

const root = resolve(import.meta.dirname, "../..");
const ours = readFileSync(join(root, "native/frontends/ublk/uapi.h"), "utf8").replace(/\/\/.*$/gm, "");
const scratch = mkdtempSync(join(tmpdir(), "ublk-uapi-"));
afterAll(() => rmSync(scratch, { recursive: true }));

/** Ours → the kernel's name; the first rule that matches. */
const RULES: [RegExp, string][] = [
  [/^CTRL_/, "UBLK_CMD_"],
  [/^IO_NR_/, "UBLK_IO_"],
  [
    /^(?=(GET_QUEUE_AFFINITY|GET_DEV_INFO2?|ADD_DEV|DEL_DEV|START_DEV|STOP_DEV|SET_PARAMS|GET_PARAMS|START_USER_RECOVERY|END_USER_RECOVERY|GET_FEATURES|DEL_DEV_ASYNC|UPDATE_SIZE|QUIESCE_DEV|TRY_STOP_DEV|REG_BUF|UNREG_BUF)$)/,
    "UBLK_U_CMD_",
  ],
  [
    /^(?=IO_(FETCH_REQ|COMMIT_AND_FETCH_REQ|NEED_GET_DATA|REGISTER_IO_BUF|UNREGISTER_IO_BUF|PREP_IO_CMDS|COMMIT_IO_CMDS|FETCH_IO_CMDS)$)/,
    "UBLK_U_",
  ],
  [/^(?=(CMD|IO)_BUF_OFFSET$)/, "UBLKSRV_"],
  [/^/, "UBLK_"],
];

const STRUCTS: Record<string, string> = {
  ctrl_cmd: "ublksrv_ctrl_cmd",
  io_cmd: "ublksrv_io_cmd",
  batch_io: "ublk_batch_io",
  elem_header: "ublk_elem_header",
  dev_info: "ublksrv_ctrl_dev_info",
  param_basic: "ublk_param_basic",
  param_discard: "ublk_param_discard",
  param_devt: "ublk_param_devt",
  param_zoned: "ublk_param_zoned",
  param_dma_align: "ublk_param_dma_align",
  param_segment: "ublk_param_segment",
  param_integrity: "ublk_param_integrity",
  params: "ublk_params",
  shmem_buf_reg: "ublk_shmem_buf_reg",
  io_desc: "ublksrv_io_desc",
};

/** Macros of the kernel that say the same as another one, or belong to functions that we have no use for. */
const NOT_NEEDED =
  /^UBLK_(U_CMD_|U_IO_)?(IO_BUF_OFF|IO_BUF_BITS_MASK|TAG_BITS_MASK|QID_BITS_MASK|AUTO_BUF_REG_F_MASK|SHMEM_ZC_\w+)$|^UBLKSRV_IO_(BUF_TOTAL_BITS|BUF_TOTAL_SIZE|INTEGRITY_FLAG)$/;

const theirs = (name: string) => {
  const [pattern, prefix] = RULES.find(([rule]) => rule.test(name)) as [RegExp, string];
  return name.replace(pattern, prefix);
};

const constants = [
  ...ours.matchAll(/^constexpr \w+ ([A-Z][A-Z0-9_]*) =/gm),
  ...[...ours.matchAll(/^enum \w+ : \w+ \{([^}]*)\}/gm)].flatMap(([, body]) => [
    ...(body ?? "").matchAll(/\b([A-Z][A-Z0-9_]*) =/g),
  ]),
].map((match) => match[1] as string);

const structs = [...ours.matchAll(/^struct (\w+) \{([^}]*)\};/gm)].map(([, name, body]) => ({
  name: name as string,
  members: (body ?? "")
    .split(";")
    .flatMap((line) =>
      line
        .trim()
        .replace(/^\w+\s+/, "")
        .split(","),
    )
    .map((member) => member.trim().replace(/\[.*$/, ""))
    .filter((member) => member !== ""),
}));

/** Compiles assertions behind a kernel header and returns the compiler's complaints. */
function complaints(header: string, assertions: readonly string[]): string {
  const file = join(scratch, "check.cc");
  writeFileSync(
    file,
    [
      "#include <cerrno>",
      `#include "${header}"`,
      '#include "frontends/ublk/uapi.h"',
      "namespace u = us::ublk;",
      ...assertions,
    ].join("\n"),
  );
  const run = spawnSync("c++", ["-std=c++20", "-fsyntax-only", `-I${join(root, "native")}`, file], {
    encoding: "utf8",
  });
  return run.status === 0 ? "" : run.stderr || String(run.error);
}

const sameConstants = constants.flatMap((name) => [
  `#ifdef ${theirs(name)}`,
  `static_assert(static_cast<long long>(u::${name}) == static_cast<long long>(${theirs(name)}), "${name}");`,
  "#endif",
]);

const sameStructs = structs.flatMap(({ name, members }) => {
  const kernel = `struct ${STRUCTS[name]}`;
  return [
    `static_assert(sizeof(u::${name}) == sizeof(${kernel}), "${name}");`,
    ...members.map(
      (m) => `static_assert(offsetof(u::${name}, ${m}) == offsetof(${kernel}, ${m}), "${name}.${m}");`,
    ),
  ];
});

const fetched = spawnSync("bash", [join(import.meta.dirname, "kernel-header.sh")], { encoding: "utf8" });
const newest = fetched.stdout.trim();
if (fetched.status === 77)
  console.warn(`SKIPPED: ublk's ABI against the newest header: ${fetched.stderr.trim()}`);

describe("our declarations of ublk's ABI", () => {
  it("are all understood by this test", () => {
    expect(constants.length).toBeGreaterThan(100);
    expect(structs.map(({ name }) => name).sort()).toEqual(Object.keys(STRUCTS).sort());
    for (const { name, members } of structs) expect(members, name).not.toEqual([]);
  });

  it.skipIf(!existsSync("/usr/include/linux/ublk_cmd.h"))("have the values of this host's header", () => {
    expect(complaints("/usr/include/linux/ublk_cmd.h", sameConstants)).toBe("");
  });

  it("fetch the newest header, or say why not", () => {
    expect([0, 77], fetched.stderr).toContain(fetched.status);
  });

  it.skipIf(newest === "")("have the values and layouts of the newest header", () => {
    expect(complaints(newest, [...sameConstants, ...sameStructs])).toBe("");
    // A wrong value is noticed: the compiler really compares.
    expect(complaints(newest, ["static_assert(u::F_QUIESCE == UBLK_F_ZONED);"])).toContain(
      "static assertion failed",
    );
  });

  it.skipIf(newest === "")("leave out nothing that the newest header defines", () => {
    const macros = execFileSync("c++", ["-E", "-dM", newest], { encoding: "utf8" });
    const defined = [...macros.matchAll(/^#define (UBLK\w*) /gm)].map((match) => match[1] as string);
    const have = new Set(constants.map(theirs));
    // A number that stands without its legacy name.
    for (const name of constants.filter((constant) => constant.startsWith("CTRL_"))) have.add(theirs(name));
    expect(defined.filter((name) => !have.has(name) && !NOT_NEEDED.test(name))).toEqual([]);
  });
});
