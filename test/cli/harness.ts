/** Runs the built command as a process: what a shell would see, and nothing of its inside. */

import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterEach } from "vitest";

export const ROOT = resolve(import.meta.dirname, "../..");
/** The command under test: this checkout's build, or another that the environment names (an installed one, say). */
export const CLI = process.env.UBLK_STACK_CLI ?? join(ROOT, "dist", "cli.js");

let fresh = process.env.UBLK_STACK_CLI !== undefined;

/** A test of an old build would prove nothing. */
function assertFresh(): void {
  if (fresh) return;
  const sources = readdirSync(join(ROOT, "src"), { recursive: true, encoding: "utf8" }).filter((name) =>
    name.endsWith(".ts"),
  );
  for (const name of sources) {
    const built = join(ROOT, "dist", name.replace(/\.ts$/, ".js"));
    if (!existsSync(built) || statSync(built).mtimeMs < statSync(join(ROOT, "src", name)).mtimeMs) {
      throw new Error(`dist/ is older than src/${name}: run \`npm run build\` first`);
    }
  }
  fresh = true;
}

export interface Result {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  readonly stdin?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
}

const temporary: string[] = [];
afterEach(() => {
  for (const folder of temporary.splice(0)) rmSync(folder, { recursive: true, force: true });
});

/** An empty folder that the test's end removes. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "ublk-stack-cli-"));
  temporary.push(folder);
  return folder;
}

/** The environment of a user with nothing but a PATH and folders of his own. */
export function userEnv(home: string, more: Readonly<Record<string, string>> = {}): Record<string, string> {
  return {
    PATH: process.env.PATH ?? "",
    HOME: home,
    TERM: "xterm-256color",
    LC_ALL: "C.UTF-8",
    UBLK_STACK_STATE_DIR: join(home, "state"),
    UBLK_STACK_RUN_DIR: join(home, "run"),
    ...more,
  };
}

/** Runs any program to its end. */
export function run(
  program: string,
  args: readonly string[],
  options: RunOptions & { env: Readonly<Record<string, string>> },
): Promise<Result> {
  return new Promise((onEnd, onFailure) => {
    const child = spawn(program, args, { env: options.env, cwd: options.cwd ?? ROOT, stdio: "pipe" });
    let stdout = "";
    let stderr = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      stdout += text;
    });
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      stderr += text;
    });
    child.on("error", onFailure);
    child.on("close", (status) => onEnd({ status, stdout, stderr }));
    // A command that reads nothing may be gone before it is written to.
    child.stdin.on("error", () => {});
    child.stdin.end(options.stdin ?? "");
  });
}

/** `ublk-stack ARGS` of a user who owns a fresh home. */
export function cli(args: readonly string[], options: RunOptions = {}): Promise<Result> {
  assertFresh();
  const env = options.env ?? userEnv(temporaryFolder());
  return run(process.execPath, [CLI, ...args], { ...options, env });
}

/** A shell line in which `ublk-stack` is the command under test. */
export function shell(line: string, options: RunOptions = {}): Promise<Result> {
  assertFresh();
  const env = options.env ?? userEnv(temporaryFolder());
  const command = `ublk-stack() { ${quoted(process.execPath)} ${quoted(CLI)} "$@"; }; ${line}`;
  return run("bash", ["-c", command], { ...options, env });
}

/** The same on a terminal of 100 columns (script(1)); both streams arrive in stdout. */
export function onTerminal(args: readonly string[], options: RunOptions = {}): Promise<Result> {
  assertFresh();
  const env = options.env ?? userEnv(temporaryFolder());
  const command = `stty cols 100 rows 40; exec ${[process.execPath, CLI, ...args].map(quoted).join(" ")}`;
  return run("script", ["--quiet", "--return", "--command", `bash -c ${quoted(command)}`, "/dev/null"], {
    ...options,
    env,
  });
}

export function quoted(word: string): string {
  return `'${word.replaceAll("'", "'\\''")}'`;
}

/** Whether a program is on the PATH. */
export function hasProgram(name: string): boolean {
  return (process.env.PATH ?? "")
    .split(":")
    .some((folder) => folder !== "" && existsSync(join(folder, name)));
}

export const ESCAPE = "\u001b[";
