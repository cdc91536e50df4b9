# targets/qcow2/image_write.cc: a table leads to a cluster before the data are in it
/^Task<int> Image::write_new/,/^}/{
s|^    int error = co_await data\(\)\.write\(host, whole\);$|    int error = 0;|
s|^        give_up\(before, host\);$|&\n        error = co_await data().write(host, whole);|
}
