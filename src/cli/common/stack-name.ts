/** A word of the command line that names an applied stack. Apart from stacks.ts, whose parser takes a while to load. */

import { StackError } from "../../errors.js";

const DNS_LABEL = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;

/** @throws StackError "usage" for a word that no stack can have as its name */
export function checkedName(word: string): string {
  if (DNS_LABEL.test(word)) return word;
  throw new StackError(
    "usage",
    `"${word}" cannot be the name of a stack: names are DNS labels such as "demo"`,
  );
}
