// Changes images by the library, as qemu-io and qemu-img change them by QEMU: for tests.
//
//     image-edit FILE COMMAND…     write OFFSET BYTES PATTERN     zero OFFSET BYTES     discard OFFSET BYTES
//                                  create TAG     delete TAG-OR-ID     apply TAG-OR-ID     resize BYTES
//                                  compact
//
// One argument for each command. Prints what became of each, a JSON array of 0 and -errno, or of what compact
// has done, and ends as a server does: all is on disk. What the header calls its backing file is read as a
// raw one.
#include <fcntl.h>
#include <unistd.h>

#include <iostream>
#include <memory>
#include <sstream>

#include <nlohmann/json.hpp>

#include "media.h"
#include "sim.h"
#include "targets/qcow2/compact.h"

using namespace us::qcow2;

namespace {

nlohmann::json compacted(Image &image, FileMedia &media, Machine &machine) {
    Compaction c;
    int error = finished(compact(image, machine, c));
    if (error == 0) error = media.shorten(std::min<uint64_t>(c.end, media.size()));
    return {{"error", error},
            {"zeroed", c.zeroed.load()},
            {"moved", c.moved.load()},
            {"tables", c.moved_tables.load()},
            {"end", c.end.load()}};
}

// Nothing waits for anything here: there is one who asks, and the disk answers at once.
nlohmann::json carry_out(Image &image, FileMedia &media, Machine &machine, const std::string &text) {
    std::istringstream words(text);
    std::string verb, tag;
    words >> verb;
    bool of_snapshots = verb == "create" || verb == "delete" || verb == "apply";
    if (of_snapshots) {
        std::getline(words >> std::ws, tag);
        if (verb == "delete") return finished(image.snapshot_delete(machine, tag));
        if (verb == "apply") return finished(image.snapshot_apply(machine, tag));
        return finished(image.snapshot_create(machine, {tag, 1700000000, 123456789}));
    }
    if (verb == "compact") return compacted(image, media, machine);
    uint64_t offset = 0, bytes = 0;
    uint32_t pattern = 0;
    words >> offset >> bytes >> pattern;
    if (verb == "zero") return finished(image.zero(machine, offset, bytes, false));
    if (verb == "discard") return finished(image.discard(machine, offset, bytes));
    if (verb == "resize") return finished(image.resize(machine, offset));
    if (verb != "write") exit(2);
    std::vector<std::byte> data(bytes, std::byte{static_cast<uint8_t>(pattern)});
    return finished(image.write(machine, offset, data));
}

} // namespace

int main(int argc, char **argv) {
    if (argc < 2) return 2;
    FileMedia media(opened(argv[1], O_RDWR));
    Header header;
    if (auto refusal = open_image(media, header)) {
        std::cerr << refusal->text << "\n";
        return 1;
    }
    std::unique_ptr<FileMedia> backing;
    ImageOptions options;
    if (!header.backing_name.empty()) {
        backing = std::make_unique<FileMedia>(opened(header.backing_name));
        options.backing = backing.get();
    }
    Machine machine(1);
    Image image(media, header, options);
    nlohmann::json answers = nlohmann::json::array();
    if (finished(image.load()) != 0 || finished(image.begin_writing()) != 0) return 1;
    for (int i = 2; i < argc; i++)
        answers.push_back(carry_out(image, media, machine, argv[i]));
    std::cout << answers << "\n";
    return finished(image.close(machine)) == 0 ? 0 : 1;
}
