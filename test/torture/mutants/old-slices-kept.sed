# targets/qcow2/table_cache.cc: a cluster that holds a new table still has slices of an old one
/^void TableCache::forget_table/,/^}/s|if \(found == slices_\.end\(\)\) continue;|continue;|
