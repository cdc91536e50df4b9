# targets/qcow2/image_flush.cc: nothing is flushed between refcounts with data and the entries that need them
/^Task<int> Image::round/,/^}/s|^    if \(error == 0\) error = co_await media_\.flush\(\);$||
