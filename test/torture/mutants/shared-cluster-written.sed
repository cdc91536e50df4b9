# targets/qcow2/image_write.cc: a snapshot's cluster is written in its place
/^Task<int> Image::write_part/,/^}/s|run\.exclusive && ||
