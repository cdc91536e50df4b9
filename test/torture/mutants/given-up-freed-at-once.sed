# targets/qcow2/image_flush.cc: what was given up is free before the tables that lead elsewhere are on the disk
/^Task<int> Image::round/,/^}/s|^    cache_lock\.unlock\(\);$|&\n    co_await allocator_.release_and_discard(executor, std::exchange(frees, {}));|
