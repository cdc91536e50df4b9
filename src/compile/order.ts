/** Orders that depend on names alone, so that the same stack gives the same table whatever the order of its keys. */

/** By code units: the same on every machine, unlike a locale's order. */
export function byName(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

type Children = (name: string) => readonly string[];

/**
 * Every node once, each after all of its children.
 * @param roots in the order wanted
 * @param children of a node, in order; must be free of cycles
 */
export function childrenFirst(roots: readonly string[], children: Children): string[] {
  const seen = new Set<string>();
  const finished: string[] = [];
  const visit = (name: string): void => {
    if (seen.has(name)) return;
    seen.add(name);
    for (const child of children(name)) visit(child);
    finished.push(name);
  };
  for (const root of roots) visit(root);
  return finished;
}

/** Every node once, each before all of its children; in a tree, the order in which a person would read it. */
export function parentsFirst(roots: readonly string[], children: Children): string[] {
  return childrenFirst([...roots].reverse(), (name) => [...children(name)].reverse()).reverse();
}
