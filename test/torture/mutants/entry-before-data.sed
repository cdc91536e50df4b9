# targets/qcow2/image_place.cc: a table leads to a cluster before the data are in it
/^Task<int> Image::write_new/,/^}/{
s#^    int error = co_await write_parts\(before, guest, host, place \? touched : touched \| allocated,$#    int error = 0;#
s#^ +place \? allocated : 0, within, bytes\);$##
s#^        give_up\(before, host\);$#&\n        error = co_await write_parts(before, guest, host, place ? touched : touched | allocated, place ? allocated : 0, within, bytes);#
}
