# targets/qcow2/slice_store.cc: tables that a killed server had not written are forgotten
s|if \(whole && memcmp\(&found, &head, sizeof found\) == 0\)|if (whole \&\& head.nr == 0)|
