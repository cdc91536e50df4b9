// members-equal.mjs CHUNK FLAT STRIPED…: exits 1 unless the striped files hold, chunk by chunk, what the flat one holds.
// The layout is written out here once more, by division and remainder, so that it does not share the layer's code.
import { closeSync, fstatSync, openSync, readSync } from "node:fs";

const [chunkText, flatPath, ...stripedPaths] = process.argv.slice(2);
const chunk = Number(chunkText);
const flat = openSync(flatPath, "r");
const striped = stripedPaths.map((path) => openSync(path, "r"));
const [want, got] = [Buffer.alloc(chunk), Buffer.alloc(chunk)];

let differing = 0;
for (let n = 0; n < Math.floor(fstatSync(flat).size / chunk); n++) {
  readSync(flat, want, 0, chunk, n * chunk);
  readSync(striped[n % striped.length], got, 0, chunk, Math.floor(n / striped.length) * chunk);
  if (!want.equals(got)) {
    console.error(`members differ in chunk ${n}`);
    differing++;
  }
}
for (const fd of [flat, ...striped]) closeSync(fd);
process.exitCode = differing === 0 ? 0 : 1;
