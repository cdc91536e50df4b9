/**
 * Reads logs in the format of device mapper's log-writes, whoever wrote them.
 *
 *   write-log.mjs show LOG [PIECE]       one line for each entry; writes are cut at multiples of PIECE bytes
 *   write-log.mjs replay LOG IMAGE MARK  writes what was recorded before that mark into IMAGE, which exists
 *   write-log.mjs batch                  lines of standard input: show LOG FILE [PIECE], replay LOG IMAGE MARK
 *
 * Lines are the same for a request and for the bio that it was made of: a flush that carries data is a flush and a
 * write, as the block layer makes it of it; and that a bio was for metadata, no request says.
 */

import { createHash } from "node:crypto";
import { closeSync, openSync, readFileSync, readSync, writeFileSync, writeSync } from "node:fs";

const FLUSH = 1n;
const FUA = 2n;
const DISCARD = 4n;
const MARK = 8n;

function* entries(path) {
  const file = openSync(path, "r");
  const read = (bytes, offset) => {
    const buffer = Buffer.alloc(bytes);
    const got = readSync(file, buffer, 0, bytes, offset);
    if (got !== bytes) throw new Error(`${path} ends at ${offset + got}`);
    return buffer;
  };
  const head = read(512, 0);
  if (head.readBigUInt64LE(0) !== 0x6a736677736872n) throw new Error(`${path} is no log`);
  const count = head.readBigUInt64LE(16);
  const sector = head.readUInt32LE(24);
  let at = sector;
  for (let i = 0n; i < count; i++) {
    const fields = read(sector, at);
    const [start, sectors, flags, length] = [0, 8, 16, 24].map((place) => fields.readBigUInt64LE(place));
    at += sector;
    const bytes = flags & DISCARD ? 0 : Number(sectors) * sector;
    const text = flags & MARK ? fields.toString("latin1", 32, 32 + Number(length)) : "";
    yield {
      offset: Number(start) * sector,
      bytes: Number(sectors) * sector,
      flags,
      text,
      data: read(bytes, at),
    };
    at += bytes;
  }
  closeSync(file);
}

/** Writes as the block layer cuts them where a disk takes no request across such a boundary. */
function* pieces(offset, data, piece) {
  for (let done = 0; done < data.length; ) {
    const bytes = Math.min(data.length - done, piece - ((offset + done) % piece));
    yield { at: offset + done, part: data.subarray(done, done + bytes) };
    done += bytes;
  }
}

function* lines(path, piece) {
  for (const { offset, bytes, flags, text, data } of entries(path)) {
    if (flags & MARK) {
      if (text !== "dm-log-writes-end") yield `mark ${text}`;
      continue;
    }
    if (flags & FLUSH) yield "flush";
    if (flags & DISCARD) yield `discard ${offset}+${bytes}`;
    for (const { at, part } of pieces(offset, data, piece)) {
      const hash = createHash("sha256").update(part).digest("hex").slice(0, 16);
      yield `write ${at}+${part.length}${flags & FUA ? " fua" : ""} ${hash}`;
    }
  }
}

function show(path, piece) {
  return [...lines(path, Number(piece ?? Number.MAX_SAFE_INTEGER))].map((line) => `${line}\n`).join("");
}

function replay(log, image, until) {
  const target = openSync(image, "r+");
  let found = false;
  for (const { offset, bytes, flags, text, data } of entries(log)) {
    found = Boolean(flags & MARK) && text === until;
    if (found) break;
    if (flags & DISCARD) {
      const zeros = Buffer.alloc(Math.min(bytes, 1 << 20));
      for (let done = 0; done < bytes; done += zeros.length)
        writeSync(target, zeros, 0, Math.min(zeros.length, bytes - done), offset + done);
    } else if (data.length > 0) writeSync(target, data, 0, data.length, offset);
  }
  closeSync(target);
  if (!found) throw new Error(`${log} has no mark ${until}`);
}

const [, , verb, ...words] = process.argv;
if (verb === "show") process.stdout.write(show(...words));
else if (verb === "replay") replay(...words);
else if (verb === "batch") {
  // One process for a whole case, since a start of Node takes seconds in the virtual machine.
  for (const line of readFileSync(0, "utf8").trim().split("\n")) {
    const [kind, log, file, more] = line.split(" ");
    if (kind === "show") writeFileSync(file, show(log, more));
    else replay(log, file, more);
  }
} else throw new Error("show, replay or batch");
