// Does for server.sh what bash cannot: a line `features`, `delete ID` or `ask SOCKET JSON` on standard input, one line of
// answer on standard output. One process for a whole case, since a start of Node takes seconds in the machine.
import { createRequire } from "node:module";
import { connect } from "node:net";
import { createInterface } from "node:readline";

const TIMEOUT_MS = 30_000;
const native = createRequire(import.meta.url)(process.argv[2]);

function ask(path, request) {
  return new Promise((resolve, reject) => {
    const socket = connect(path, () => socket.write(`${request}\n`));
    socket.on("error", reject);
    // The interface passes on what the socket throws, even before it has been connected.
    const lines = createInterface(socket);
    lines.on("error", reject);
    lines.once("close", () => reject(new Error("the server closed the connection")));
    lines.once("line", (line) => {
      resolve(line);
      socket.destroy();
    });
  });
}

const words = {
  features: async () => (await native.features())?.join(" ") ?? "",
  delete: async (id) => {
    await native.stopDev(Number(id), TIMEOUT_MS);
    await native.delDev(Number(id), TIMEOUT_MS);
    return "deleted";
  },
  ask: async (rest) => ask(rest.slice(0, rest.indexOf(" ")), rest.slice(rest.indexOf(" ") + 1)),
};

for await (const line of createInterface(process.stdin)) {
  const space = line.indexOf(" ");
  const [word, rest] = space < 0 ? [line, ""] : [line.slice(0, space), line.slice(space + 1)];
  try {
    console.log(await words[word](rest));
  } catch (error) {
    console.log(`failed: ${error.op ?? ""} ${error.code ?? ""} ${error.message}`);
  }
}
