/** Serves images for qemu-io.mjs: one server for each time that a test opens one, and an account of it for each test. */
import { mkdtemp, rm } from "node:fs/promises";
import { createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { type Server, startServer } from "../nbd/harness.js";
import { stackOf } from "./stack-of.js";

/** What of a test's calls of qemu-io came to us. */
export interface Account {
  /** Images that our server has served, and such that it refused. */
  served: number;
  refused: string[];
  /** Why others went to QEMU, and how often. */
  passed: Map<string, number>;
}

interface Request {
  op: "look" | "serve" | "close" | "kill" | "passed";
  test: string;
  path: string;
  format: string | null;
  readOnly: boolean;
  why: string;
}

export interface Broker {
  readonly socket: string;
  account(test: string): Account;
  close(): Promise<void>;
}

export async function startBroker(): Promise<Broker> {
  const folder = await mkdtemp(join(tmpdir(), "iotests-broker-"));
  const socket = join(folder, "socket");
  const accounts = new Map<string, Account>();
  const account = (test: string): Account => {
    const known = accounts.get(test) ?? { served: 0, refused: [], passed: new Map() };
    accounts.set(test, known);
    return known;
  };
  const open = new Set<Socket>();
  const listener = createServer((client) => {
    open.add(client);
    new Client(client, account).serve().finally(() => open.delete(client));
  });
  await new Promise<void>((done) => listener.listen(socket, done));
  return {
    socket,
    account,
    async close() {
      for (const client of open) client.destroy();
      await new Promise((done) => listener.close(done));
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** What the server itself says of an image that it does not serve. */
function shortly(message: string): string {
  const said = /"message":("(?:[^"\\]|\\.)*")/.exec(message)?.[1];
  return said === undefined ? message : JSON.parse(said);
}

/** One qemu-io.mjs, with at most one image open. */
class Client {
  #server: Server | null = null;

  constructor(
    private readonly socket: Socket,
    private readonly account: (test: string) => Account,
  ) {
    socket.on("error", () => undefined);
  }

  async serve(): Promise<void> {
    for await (const line of createInterface({ input: this.socket })) {
      const answer = await this.#answer(JSON.parse(line)).catch((error) => ({ refused: String(error) }));
      this.socket.write(`${JSON.stringify(answer)}\n`);
    }
    await this.#end("kill"); // it is gone without a word
  }

  async #answer(request: Request): Promise<object> {
    const account = this.account(request.test);
    switch (request.op) {
      case "look": {
        const found = await stackOf(request.path, request.format, true, "/");
        return "foreign" in found ? found : {};
      }
      case "serve":
        return this.#serve(request, account);
      case "passed":
        if (request.why !== "") account.passed.set(request.why, (account.passed.get(request.why) ?? 0) + 1);
        return {};
      case "close":
      case "kill":
        await this.#end(request.op);
        return {};
    }
  }

  async #serve(request: Request, account: Account): Promise<object> {
    const folder = await mkdtemp(join(tmpdir(), "iotests-"));
    const found = await stackOf(request.path, request.format, request.readOnly, folder);
    try {
      if (!("spec" in found)) return this.#refuse(folder, account, "refused" in found ? found.refused : "");
      this.#server = await startServer(found.spec, { folder });
    } catch (error) {
      return this.#refuse(folder, account, shortly((error as Error).message));
    }
    account.served++;
    return { uri: this.#server.uri() };
  }

  async #refuse(folder: string, account: Account, refused: string): Promise<object> {
    await rm(folder, { recursive: true, force: true });
    account.refused.push(refused);
    return { refused };
  }

  async #end(how: "close" | "kill"): Promise<void> {
    const server = this.#server;
    if (server === null) return;
    this.#server = null;
    if (how === "close") return server.close();
    await server.kill();
    await rm(server.folder, { recursive: true, force: true });
  }
}
