/** Names of stacks, layers and exports: DNS labels (RFC 1123, section 2.1), lower case. */

const LABEL = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;

export function isName(text: string): boolean {
  return LABEL.test(text);
}

/** The valid name that is most like a text, or undefined when nothing of it can stay. */
export function nearestName(text: string): string | undefined {
  const label = text
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, "-")
    .replace(/^-+/, "")
    .slice(0, 63)
    .replace(/-+$/, "");
  return label === "" ? undefined : label;
}
