# targets/qcow2/image_write.cc: a snapshot's table is changed in its place
/^Task<int> Image::own_table/,/^}/s|if \(table != 0 && word & US_QCOW2_COPIED\)|if (table != 0)|
