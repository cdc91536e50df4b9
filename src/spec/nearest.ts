/** "Did you mean": the valid word that a wrong one was probably meant to be. */

const LENGTH_MAX = 64;

/** Edits (insert, delete, replace, swap of neighbours) between two words, ignoring case. */
function distance(a: string, b: string): number {
  const width = b.length + 1;
  let beforeLast: number[] = [];
  let last = Array.from({ length: width }, (_, column) => column);
  for (let row = 1; row <= a.length; row++) {
    const current = [row];
    for (let column = 1; column < width; column++) {
      const same = a[row - 1] === b[column - 1];
      let best = Math.min(
        (last[column] ?? 0) + 1,
        (current[column - 1] ?? 0) + 1,
        (last[column - 1] ?? 0) + (same ? 0 : 1),
      );
      if (row > 1 && column > 1 && a[row - 1] === b[column - 2] && a[row - 2] === b[column - 1]) {
        best = Math.min(best, (beforeLast[column - 2] ?? 0) + 1);
      }
      current.push(best);
    }
    beforeLast = last;
    last = current;
  }
  return last[width - 1] ?? 0;
}

/**
 * The nearest of some candidates, or undefined when none is near: more than a third of the longer word would have to
 * change. Of equally near ones the first.
 */
export function nearest(word: string, candidates: Iterable<string>): string | undefined {
  if (word.length > LENGTH_MAX) return undefined;
  let best: { candidate: string; edits: number } | undefined;
  for (const candidate of candidates) {
    const longer = Math.max(word.length, candidate.length);
    if (longer > LENGTH_MAX) continue;
    const edits = distance(word.toLowerCase(), candidate.toLowerCase());
    // One edit in two letters (d9 for d0) still is a slip of a finger.
    if (edits <= Math.max(1, Math.floor(longer / 3)) && edits < longer && (!best || edits < best.edits)) {
      best = { candidate, edits };
    }
  }
  return best?.candidate;
}
