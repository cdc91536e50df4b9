// What a qcow2 image has not written yet, as it outlives a server: SliceStore; and the words that its map is
// told in.
#include <fcntl.h>
#include <unistd.h>

#include <cstring>

#include "check.h"
#include "stand.h"
#include "targets/format_words.h"
#include "targets/handler.h"
#include "targets/qcow2/slice_store.h"

using namespace us;
using qcow2::SliceStore;

namespace {

constexpr uint32_t SLICE = 4096;

struct Folder {
    explicit Folder(const std::string &path) : fd(open(path.c_str(), O_RDONLY | O_DIRECTORY)) {}
    ~Folder() { close(fd); }
    int fd;
};

// One slice that is not written yet, in a store of so many.
void leave_one(int folder, uint64_t slices) {
    SliceStore store(SLICE, slices);
    std::vector<SliceStore::Place> left;
    CHECK_EQ(store.open(folder, "tables", "owner", left), 0);
    SliceStore::Place slice;
    CHECK_EQ(store.take(slice), 0);
    *slice.kept = {65536, 2, 1, 0, 1};
    memset(slice.data, 0x5a, SLICE);
}

} // namespace

TEST(tables_that_are_not_written_outlive_another_size_of_the_cache) {
    TempDir dir;
    Folder folder(dir.path());
    for (uint64_t slices : {64, 128, 32}) {
        leave_one(folder.fd, slices);
        SliceStore store(SLICE, 96);
        std::vector<SliceStore::Place> left;
        CHECK_EQ(store.open(folder.fd, "tables", "owner", left), 0);
        CHECK_EQ(left.size(), 1u);
        CHECK_EQ(left[0].kept->offset, 65536u);
        CHECK(left[0].data[SLICE - 1] == std::byte{0x5a});
        CHECK_EQ(store.size(), slices);
        left[0].kept->written = left[0].kept->changes;
    }
    // With nothing left it is as large as it was asked to be, and doubt stays.
    {
        SliceStore store(SLICE, 32);
        std::vector<SliceStore::Place> left;
        CHECK_EQ(store.open(folder.fd, "tables", "owner", left), 0);
        store.doubt() = 3;
    }
    SliceStore store(SLICE, 96);
    std::vector<SliceStore::Place> left;
    CHECK_EQ(store.open(folder.fd, "tables", "owner", left), 0);
    CHECK_EQ(left.size(), 0u);
    CHECK_EQ(store.size(), 96u);
    CHECK_EQ(store.doubt(), 3u);
}

TEST(tables_of_another_owner_are_thrown_away) {
    TempDir dir;
    Folder folder(dir.path());
    leave_one(folder.fd, 64);
    SliceStore store(SLICE, 64);
    std::vector<SliceStore::Place> left;
    CHECK_EQ(store.open(folder.fd, "tables", "somebody else", left), 0);
    CHECK_EQ(left.size(), 0u);
}

TEST(what_was_looked_up_while_a_map_was_closed_is_not_put) {
    auto live = std::make_unique<us_live_layer>();
    auto words = std::make_unique<us_words>();
    Slot slot{};
    Inflight inflight(&slot, 1);
    HandlerContext context;
    context.live = live.get();
    context.words = words.get();
    context.inflight = &inflight;
    context.layer.param[US_FORMAT_PLACE] = uint64_t{4} << 32;
    FormatWords map(context, 0);
    map.open(16);
    map.put(map.generation(), 1, 7, US_FORMAT_OWN);
    CHECK_EQ(words->word[1], us_format_word(0, 7, US_FORMAT_OWN));
    map.close();
    uint64_t generation = map.generation();
    map.open(16);
    map.put(generation, 1, 7, US_FORMAT_OWN);
    CHECK_EQ(words->word[1], 0u);
}
