import { showsBase, stated } from "./instrument.js";
import type { LayerKind } from "./kind.js";

/** throttle: so many requests and bytes in a second. */
export const throttle: LayerKind<"throttle"> = {
  ...showsBase,
  type: "throttle",
  adjustable: [
    "iops",
    "bandwidthBytes",
    "burstNs",
    "readIops",
    "readBandwidthBytes",
    "readBurstNs",
    "writeIops",
    "writeBandwidthBytes",
    "writeBurstNs",
    "iopsBytes",
  ],
  params: ({ options }) =>
    stated({
      iops: options.iops,
      bandwidthBytes: options.bandwidth,
      burstNs: options.burst,
      readIops: options.readIops,
      readBandwidthBytes: options.readBandwidth,
      readBurstNs: options.readBurst,
      writeIops: options.writeIops,
      writeBandwidthBytes: options.writeBandwidth,
      writeBurstNs: options.writeBurst,
      iopsBytes: options.iopsSize,
    }),
};
