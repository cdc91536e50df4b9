/**
 * Two accounts and a journal, and a journal that is broken.
 *
 *   sector 0..3   the accounts: what is on them together never changes
 *   sector 8..9   the journal: [ sequence | both balances | … | sequence | checksum ], two sectors, one write
 *
 *   node journal.mjs make FILE          each transfer: journal, flush, accounts, flush
 *   node journal.mjs make-hasty FILE    the journal has no checksum, so that its torn record is taken for a whole one
 *   node journal.mjs check FILE         replays the journal in memory and counts the money
 */
import { createHash } from "node:crypto";
import { main } from "./image.mjs";

const SECTOR = 512;
const TOTAL = 1000;
const TRANSFERS = 4;
const JOURNAL = 8 * SECTOR;
const SUM_AT = 2 * SECTOR - 8;
const sum = (bytes) => createHash("sha256").update(bytes.subarray(0, SUM_AT)).digest().subarray(0, 8);

/** The first balance begins the record and the second ends it: they stand in different sectors. */
function record(sequence, first, { hasty }) {
  const bytes = Buffer.alloc(2 * SECTOR);
  bytes.writeUInt32LE(sequence, 0);
  bytes.writeUInt32LE(first, 4);
  bytes.writeUInt32LE(TOTAL - first, SUM_AT - 4);
  bytes.writeUInt8(hasty ? 1 : 0, 8);
  if (!hasty) sum(bytes).copy(bytes, SUM_AT);
  return bytes;
}

function account(balance) {
  const bytes = Buffer.alloc(SECTOR);
  bytes.writeUInt32LE(1, 0);
  bytes.writeUInt32LE(balance, 4);
  return bytes;
}

export function makeTransfers(disk, options) {
  disk.write(0, account(TOTAL));
  disk.write(2 * SECTOR, account(0));
  disk.flush();
  for (let sequence = 1; sequence <= TRANSFERS; sequence++) {
    const first = TOTAL - 100 * sequence;
    disk.write(JOURNAL, record(sequence, first, options));
    disk.flush();
    disk.write(0, account(first));
    disk.write(2 * SECTOR, account(TOTAL - first));
    disk.flush();
  }
}

/** @returns what is wrong, or null */
export function checkTransfers(read) {
  const balances = [read(0, SECTOR), read(2 * SECTOR, SECTOR)];
  const journal = read(JOURNAL, 2 * SECTOR);
  // Before the accounts are opened there is nothing to count.
  if (balances.some((bytes) => bytes.readUInt32LE(0) === 0)) return null;
  const whole = journal.readUInt8(8) === 1 || sum(journal).equals(journal.subarray(SUM_AT));
  const replays = journal.readUInt32LE(0) > 0 && whole;
  const [first, second] = replays
    ? [journal.readUInt32LE(4), journal.readUInt32LE(SUM_AT - 4)]
    : balances.map((bytes) => bytes.readUInt32LE(4));
  return first + second === TOTAL ? null : `${first} and ${second} are not ${TOTAL}`;
}

if (process.argv[1] === import.meta.filename) {
  process.exitCode = main(makeTransfers, checkTransfers, process.argv.slice(2));
}
