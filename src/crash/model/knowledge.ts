/**
 * What checks have shown, by what they read. A check whose answer depends on its disk alone looks at a place, then at
 * the next that what it saw has led it to, and so on; on any disk that holds the same in all these places it does the
 * same and says the same, whatever the disk holds elsewhere.
 *
 *   check 1 read   7=a 3=b 9=c   good         ( 7=a 3=b ) ─ 9 ─ c ─ good
 *   check 2 read   7=a 3=b 9=d 4=e   bad                    └── d ─ ( 4=e ) ─ bad
 *
 * The tree has a run of places that all agree on in each node, and forks where checks saw different things. Where
 * checks that saw the same went on to different places (parts of a check that run at the same time) it has several
 * forks; each way down is sound by itself, because everything that some check read was compared.
 */

/** A place, and where to go on by what it holds. */
interface Fork<Verdict> {
  readonly place: number;
  readonly next: Map<number, Node<Verdict>>;
}

interface Node<Verdict> {
  /** Places in the order in which they were read, and what all that come here hold in them. */
  places: Int32Array;
  contents: Int32Array;
  /** Where the reading ended; such a node has no forks. */
  verdict: Verdict | undefined;
  forks: Fork<Verdict>[];
}

/** So many places are kept at most; each takes 8 bytes. What is learned is then kept, and nothing more learned. */
const MOST_PLACES = 1 << 24;
/** A check whose reads come in so many orders is read by chance; more ways would cost more than they save. */
const MOST_FORKS = 16;

export class Knowledge<Verdict extends object> {
  #root: Node<Verdict> | null = null;
  #room: number;

  constructor(mostPlaces = MOST_PLACES) {
    this.#room = mostPlaces;
  }

  /** What a check said that read nothing in which this disk differs; undefined when there was none. */
  find(now: Int32Array): Verdict | undefined {
    return this.#root === null ? undefined : search(this.#root, now);
  }

  /**
   * @param places what a check read of its disk, in this order, none of them twice
   * @param now what the disk held
   */
  learn(places: Int32Array, now: Int32Array, verdict: Verdict): void {
    if (this.#root === null) this.#root = this.#leaf(places, 0, now, verdict);
    else this.#insert(this.#root, places, now, verdict);
  }

  #insert(root: Node<Verdict>, places: Int32Array, now: Int32Array, verdict: Verdict): void {
    let node = root;
    for (let at = 0; ; ) {
      const same = agreement(node, places, at, now);
      at += same;
      if (node.verdict !== undefined && same === node.places.length) return;
      if (at === places.length) {
        // It needed less than those before to come to its answer.
        cut(node, same);
        node.forks = [];
        node.verdict = verdict;
        return;
      }
      if (same < node.places.length) split(node, same);
      const place = places[at] as number;
      let fork = node.forks.find((one) => one.place === place);
      if (fork === undefined) {
        if (node.forks.length === MOST_FORKS) return;
        fork = { place, next: new Map() };
        node.forks.push(fork);
      }
      const content = now[place] as number;
      const next = fork.next.get(content);
      if (next === undefined) {
        const leaf = this.#leaf(places, at + 1, now, verdict);
        if (leaf !== null) fork.next.set(content, leaf);
        return;
      }
      node = next;
      at++;
    }
  }

  #leaf(places: Int32Array, from: number, now: Int32Array, verdict: Verdict): Node<Verdict> | null {
    const rest = places.slice(from);
    if (rest.length > this.#room) return null;
    this.#room -= rest.length;
    return { places: rest, contents: rest.map((place) => now[place] as number), verdict, forks: [] };
  }
}

function search<Verdict>(from: Node<Verdict>, now: Int32Array): Verdict | undefined {
  let node = from;
  for (;;) {
    const { places, contents, forks } = node;
    for (let i = 0; i < places.length; i++) if (now[places[i] as number] !== contents[i]) return undefined;
    if (node.verdict !== undefined) return node.verdict;
    let next: Node<Verdict> | undefined;
    for (const fork of forks) {
      const way = fork.next.get(now[fork.place] as number);
      if (way === undefined) continue;
      if (forks.length === 1) next = way;
      else {
        const found = search(way, now);
        if (found !== undefined) return found;
      }
    }
    if (next === undefined) return undefined;
    node = next;
  }
}

/** How many of a node's places come next in this order with the same content. */
function agreement(
  { places: known, contents }: Node<unknown>,
  places: Int32Array,
  at: number,
  now: Int32Array,
): number {
  let same = 0;
  while (same < known.length && at + same < places.length) {
    const place = places[at + same] as number;
    if (known[same] !== place || contents[same] !== now[place]) break;
    same++;
  }
  return same;
}

function cut(node: Node<unknown>, length: number): void {
  node.places = node.places.slice(0, length);
  node.contents = node.contents.slice(0, length);
}

/** Ends a node after so many of its places; the next of them becomes a fork. */
function split<Verdict>(node: Node<Verdict>, length: number): void {
  const { places, contents, verdict, forks } = node;
  const lower: Node<Verdict> = {
    places: places.slice(length + 1),
    contents: contents.slice(length + 1),
    verdict,
    forks,
  };
  const next = new Map([[contents[length] as number, lower]]);
  node.forks = [{ place: places[length] as number, next }];
  node.verdict = undefined;
  cut(node, length);
}
