import { quote } from "../spec/place.js";
import { type LayerKind, optionPath } from "./kind.js";
import {
  blockFits,
  idealGeometry,
  leafAnswers,
  mediaGeometry,
  notEmpty,
  seenFile,
  statedSize,
} from "./leaf.js";

/**
 * block: a block device of the host, opened exclusively where it is written.
 *
 * In a table it is also how a device opens another one of its stack: then params hold `device`, that one's name,
 * in place of `path` (see compile/assemble.ts).
 */
export const block: LayerKind<"block"> = {
  ...leafAnswers,
  type: "block",

  check({ layer, media }) {
    if (media === undefined) return [];
    const { path } = layer.options;
    if (!media.exists) {
      return [
        {
          path: optionPath(layer, "path"),
          at: "value",
          code: "path-missing",
          severity: "error",
          message: `block device ${quote(path)} of layer "${layer.name}" does not exist`,
        },
      ];
    }
    return [
      ...statedSize(layer, media, "error"),
      ...blockFits(layer, path, media),
      ...notEmpty(layer, path, media),
    ];
  },

  sizeBytes: ({ layer, media }) => (media?.exists ? media.sizeBytes : layer.options.size),

  geometry: ({ media }) =>
    media === undefined ? idealGeometry(512) : mediaGeometry(media, media.logicalBlockBytes),

  params: (layer) => ({ path: layer.options.path, direct: layer.options.direct }),
  survivesReboot: () => true,
  file: seenFile,
  place: (layer) =>
    layer.params.device === undefined ? `block:${layer.params.path}` : `device:${layer.params.device}`,
};
