/** How workloads and checks reach the disk. */

/** The environment that we have, and these; variables of an outer exploration are not ours. */
export function diskEnvironment(
  env: NodeJS.ProcessEnv,
  reach: { file?: string; uri?: string; device?: string },
): NodeJS.ProcessEnv {
  const { UBLK_STACK_FILE: _file, UBLK_STACK_URI: _uri, UBLK_STACK_DEVICE: _device, ...others } = env;
  return {
    ...others,
    ...(reach.file === undefined ? {} : { UBLK_STACK_FILE: reach.file }),
    ...(reach.uri === undefined ? {} : { UBLK_STACK_URI: reach.uri }),
    ...(reach.device === undefined ? {} : { UBLK_STACK_DEVICE: reach.device }),
  };
}
