/**
 * Where the bytes of an export lie, seen through devices that open each other, and whether another table leaves
 * them there. Fused and layered tables of one stack have the same content.
 */

import type { Device, Table } from "../compile/table.js";
import type { Content, ContentFacts, Keeps } from "../layers/kind.js";
import { kindOfType } from "../layers/registry.js";

/** A layer of a table that is a leaf with media of its own. */
export interface Leaf {
  layer: string;
  /** Equal for equal media. */
  place: string;
  readOnly: boolean;
  creatable: boolean;
  /** Whether the media outlive a reboot. */
  lasting: boolean;
}

/** The leaves of a device, without other devices that it opens. */
export function leavesOf(device: Device): Leaf[] {
  return device.layers.flatMap((layer): Leaf[] => {
    const kind = kindOfType(layer.type);
    const place = kind.place(layer);
    if (place === null || device.opens.includes(String(layer.params.device))) return [];
    return [
      {
        layer: layer.name,
        place,
        readOnly: layer.readOnly,
        creatable: kind.creatable,
        lasting: kind.survivesReboot([]),
      },
    ];
  });
}

/** All layers of a table as content; a layer that a device opens is the layer that the other device serves. */
export class Contents {
  readonly #devices: ReadonlyMap<string, Device>;
  readonly #known = new Map<string, Content>();

  constructor(devices: readonly Device[]) {
    this.#devices = new Map(devices.map((device) => [device.name, device]));
  }

  /** What layer `index` of a device holds. @throws RangeError when the table has no such layer */
  of(device: Device, index: number): Content {
    const key = `${device.name}/${index}`;
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    const layer = device.layers[index];
    if (layer === undefined) throw new RangeError(`device "${device.name}" has no layer ${index}`);
    const other =
      layer.params.device === undefined ? undefined : this.#devices.get(String(layer.params.device));
    const content =
      other === undefined
        ? { layer, children: layer.children.map((child) => this.of(device, child)) }
        : this.of(other, 0);
    this.#known.set(key, content);
    return content;
  }

  /** What every named export shows, by its name. */
  exports(): Map<string, Content> {
    const shown = new Map<string, Content>();
    for (const device of this.#devices.values()) {
      for (const entry of device.exports) {
        if (entry.name !== null) shown.set(entry.name, this.of(device, entry.root));
      }
    }
    return shown;
  }
}

/** The places that a content lies on, and whether each outlives a reboot. */
export function placesOf(content: Content, seen = new Set<Content>()): Map<string, boolean> {
  const places = new Map<string, boolean>();
  if (seen.has(content)) return places;
  seen.add(content);
  const kind = kindOfType(content.layer.type);
  const place = kind.place(content.layer);
  if (place !== null) places.set(place, kind.survivesReboot([]));
  for (const child of content.children) {
    for (const [below, lasting] of placesOf(child, seen)) places.set(below, lasting);
  }
  return places;
}

/**
 * The question whether bytes stay where they are, with its answers remembered: shared layers make many paths.
 * @param lost places whose bytes are gone
 */
export function keeper(facts: ContentFacts, lost: ReadonlySet<string> = new Set()): Keeps {
  const answers = new Map<Content, Map<Content, Map<number, boolean>>>();

  const decide: Keeps = (before, after, bytes) => {
    const [kind, successor] = [kindOfType(before.layer.type), kindOfType(after.layer.type)];
    const place = kind.place(before.layer);
    if (place === null && before.children.length === 0) return true;
    if (after.layer.sizeBytes < bytes || (place !== null && lost.has(place))) return false;
    const own = kind === successor ? kind.keeps(before, after, bytes, keeps, facts) : undefined;
    if (own !== undefined) return own;
    if (kind.copies(before, facts).some((copy) => keeps(copy, after, bytes))) return true;
    const head = successor.head(after);
    return head !== undefined && keeps(before, head, bytes);
  };
  const keeps: Keeps = (before, after, bytes) => {
    const byAfter = answers.get(before) ?? new Map<Content, Map<number, boolean>>();
    answers.set(before, byAfter);
    const byBytes = byAfter.get(after) ?? new Map<number, boolean>();
    byAfter.set(after, byBytes);
    const known = byBytes.get(bytes);
    if (known !== undefined) return known;
    const answer = decide(before, after, bytes);
    byBytes.set(bytes, answer);
    return answer;
  };
  return keeps;
}

/** An export whose bytes a new table would write over, or put out of order. */
export interface Loss {
  export: string;
  /** One sentence without a full stop. */
  message: string;
}

/**
 * What a change of tables does to existing data.
 * @param lost places whose bytes are gone already, and that would be made anew
 */
export function lossesBetween(
  before: Table,
  after: Table,
  facts: ContentFacts,
  lost: ReadonlySet<string> = new Set(),
): Loss[] {
  const [old, fresh] = [new Contents(before.devices), new Contents(after.devices)];
  const shown = fresh.exports();
  const keeps = keeper(facts, lost);
  const written = new Set(
    after.devices.flatMap((device) =>
      leavesOf(device).flatMap((leaf) => (leaf.readOnly ? [] : [leaf.place])),
    ),
  );

  const present = new Set(after.devices.flatMap((device) => leavesOf(device).map((leaf) => leaf.place)));

  return [...old.exports()].flatMap(([name, content]): Loss[] => {
    const successor = shown.get(name);
    const bytes = content.layer.sizeBytes;
    if (successor !== undefined && keeps(content, successor, bytes)) return [];
    const places = [...placesOf(content)];
    // Media that are no longer written keep their bytes, unless they vanish with their layer as memory does.
    const touched = places.some(
      ([place, lasting]) =>
        written.has(place) || (successor !== undefined && !lasting && !present.has(place)),
    );
    if (!touched || [...shown.values()].some((other) => keeps(content, other, bytes))) return [];
    const gone = places.map(([place]) => place).filter((place) => lost.has(place));
    return [{ export: name, message: lossMessage(name, content, successor, gone) }];
  });
}

function lossMessage(
  name: string,
  content: Content,
  successor: Content | undefined,
  gone: readonly string[],
): string {
  if (gone.length > 0) {
    return `export "${name}" would lose bytes: ${gone.map((place) => place.replace(/^\w+:/, "")).join(", ")} is gone and would be made anew, empty`;
  }
  if (successor === undefined) return `the bytes of export "${name}" would be written over by other layers`;
  if (successor.layer.sizeBytes < content.layer.sizeBytes) {
    return `export "${name}" would lose the last ${content.layer.sizeBytes - successor.layer.sizeBytes} of its ${content.layer.sizeBytes} bytes`;
  }
  return `export "${name}" would show other bytes: its layers no longer put them where they are`;
}
