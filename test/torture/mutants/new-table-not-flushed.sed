# targets/qcow2/image_write.cc: the first table leads to another one before that is on the disk
/^Task<int> Image::make_table/,/^}/s|^    if \(error == 0\) error = co_await media_\.flush\(\);$||
