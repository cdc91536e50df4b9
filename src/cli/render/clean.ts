/** Text that comes from elsewhere, for a terminal. */

/** What would move the cursor or change the terminal. */
const CONTROL = /[\p{Cc}\u2028\u2029\u202a-\u202e\u2066-\u2069]/gu;

export const clean = (text: string): string => text.replaceAll(CONTROL, "\uFFFD");
