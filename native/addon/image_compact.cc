#include "addon/image_compact.h"

#include <sys/stat.h>

#include <cerrno>

#include "targets/finished.h"
#include "targets/qcow2/alone.h"
#include "targets/qcow2/repair.h"

namespace us::addon {

namespace {

using namespace qcow2;

void compact_whole(FileMedia &media, const Header &header, Compaction &compaction, const std::string &path) {
    auto must = [&](const char *op, int error) {
        if (error != 0) throw FileError(op, -error, path);
    };
    Alone alone;
    Image image(media, header, {});
    must("read", finished(image.load()));
    must("write", finished(image.begin_writing(true)));
    must("compact", finished(compact(image, alone, compaction)));
}

} // namespace

ImageCompacted compact_image(const std::string &path, bool shorten, Compaction &compaction) {
    ImageFile file(path, ImageFile::Access::write);
    if (!file.keep_out()) throw FileError("lock", EAGAIN, path);
    ImageCompacted done;
    done.head = file.head();
    done.file_before = file.bytes();
    done.disk_before = file.disk_bytes();
    if (done.head.kind != ImageHead::qcow2) return done;
    Header header = done.head.header;
    if (header.shape.data_file) throw FileError("compact", ENOTSUP, path);
    FileMedia &media = file.media();
    // So that what its refcounts say is true.
    Repaired repaired = finished(repair(media, header));
    if (repaired.error != 0) throw FileError("repair", -repaired.error, path);
    done.refusal = repaired.refusal;
    if (done.refusal) return done;
    done.leaks = repaired.leaks;
    compact_whole(media, header, compaction, path);
    if (shorten && file.is_regular() && compaction.end < media.size()) {
        int error = media.shorten(compaction.end);
        if (error == 0) error = finished(media.flush());
        if (error != 0) throw FileError("truncate", -error, path);
    }
    done.file_after = file.bytes();
    done.disk_after = file.disk_bytes();
    return done;
}

} // namespace us::addon
