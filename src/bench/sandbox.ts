/** A folder and a controller of their own for a benchmark, driven through the command line as a user would. */
import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);

const CLI = resolve(import.meta.dirname, "../cli.js");

/** Whether a program is installed. */
export async function onPath(program: string): Promise<boolean> {
  return run("sh", ["-c", `command -v "$0"`, program]).then(
    () => true,
    () => false,
  );
}

export interface Sandbox {
  folder: string;
  environment: NodeJS.ProcessEnv;
  apply(name: string, spec: object): Promise<void>;
  delete(name: string): Promise<void>;
  uri(name: string, exportName: string): Promise<string>;
  status(name: string): Promise<unknown>;
  close(): Promise<void>;
}

/** `parent`: where the data goes; by default the temporary folder. */
export async function openSandbox(parent: string = tmpdir()): Promise<Sandbox> {
  const folder = await mkdtemp(join(parent, "ublk-stack-bench-"));
  const environment = {
    ...process.env,
    UBLK_STACK_STATE_DIR: join(folder, "state"),
    UBLK_STACK_RUN_DIR: join(folder, "run"),
  };
  const cli = async (...args: string[]) =>
    (await run(process.execPath, [CLI, ...args], { env: environment, maxBuffer: 16 << 20 })).stdout;

  return {
    folder,
    environment,
    async apply(name, spec) {
      const file = join(folder, `${name}.yaml`);
      // JSON is YAML.
      await writeFile(
        file,
        JSON.stringify({ apiVersion: "ublk-stack/v1", kind: "Stack", metadata: { name }, spec }),
      );
      await cli("apply", file);
    },
    async delete(name) {
      await cli("delete", name);
    },
    async uri(name, exportName) {
      const status = JSON.parse(await cli("status", name, "-o", "json")) as {
        items: { status: { exports: Record<string, { uri?: string }> } }[];
      };
      const uri = status.items[0]?.status.exports[exportName]?.uri;
      if (uri === undefined) throw new Error(`stack ${name} has no NBD export ${exportName}`);
      return uri;
    },
    async status(name) {
      return JSON.parse(await cli("status", name, "-o", "json"));
    },
    async close() {
      await cli("delete", "--all");
      await cli("controller", "stop");
      await rm(folder, { recursive: true, force: true });
    },
  };
}
