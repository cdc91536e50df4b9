#include "targets/qcow2/compact.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "targets/qcow2/revision.h"
#include "targets/qcow2/subclusters.h"

namespace us::qcow2 {

namespace {

constexpr uint64_t PIECE_BYTES = 1 << 20;
// Between flushes, which give back what has moved away.
constexpr uint64_t ROUND_BYTES = 64 << 20;
// Each makes the image end earlier, unless others write meanwhile.
constexpr int MAX_TIMES = 16;
// Of the image whose holes are punched while nothing is written.
constexpr uint64_t HOLES_BYTES = uint64_t{4} << 30;

bool all_zeros(std::span<const std::byte> bytes) {
    return bytes.empty() ||
           (bytes[0] == std::byte{0} && memcmp(bytes.data(), bytes.data() + 1, bytes.size() - 1) == 0);
}

} // namespace

class Compactor {
  public:
    Compactor(Image &image, Executor &executor, Compaction &compaction)
        : image_(image), executor_(executor), c_(compaction), h_(image.header_),
          backed_(image.options_.backing != nullptr || !image.header_.backing_name.empty()) {}

    Task<int> run() {
        if (!image_.writing_) co_return -EROFS;
        if (image_.corrupt()) co_return -EUCLEAN;
        if (h_.shape.data_file) co_return -ENOTSUP;
        int error = co_await give_up_zeros();
        if (error == 0) error = co_await move_all();
        if (error == 0) error = co_await give_back();
        // What was done is on disk, whatever became of the rest.
        int closing = co_await image_.close(executor_);
        if (error == 0) error = closing;
        if (error == -EUCLEAN) co_await image_.contradicted(executor_);
        co_return error;
    }

  private:
    using Entry = Image::Entry;

    uint64_t cluster() const { return image_.cluster(); }
    bool stopped() const { return c_.stop.load(std::memory_order_relaxed) || executor_.stopping(); }
    Task<int> stand_still(Standstill &standstill) {
        c_.waits++;
        int error = co_await standstill.begin(executor_, true);
        c_.waits++;
        co_return error;
    }
    void begin(Compaction::Phase phase, uint64_t total) {
        c_.done = 0;
        c_.total = total;
        c_.phase = phase;
    }
    Turns::Begin turn(uint64_t guest, uint64_t end, bool shared) {
        return image_.turns_.begin(executor_, guest / cluster(), h_.clusters(end), shared);
    }

    // ---- What the disk leads to, piece by piece

    // The end of the next piece of the disk that has an L2 table of its own, which begins at `guest` then.
    uint64_t next_piece(uint64_t &guest, uint64_t size, uint64_t most) const {
        while (guest < size) {
            uint64_t span = h_.l2_span(), word = image_.l1_.get(guest / span),
                     end = (guest / span + 1) * span;
            if (word & US_QCOW2_HOST_MASK && word & US_QCOW2_COPIED)
                return std::min({end, size, guest + std::max(cluster(), most)});
            guest = end;
        }
        return guest;
    }

    // ---- Zeros

    Task<int> give_up_zeros() {
        begin(Compaction::zeros, image_.size());
        for (uint64_t guest = 0, size = 0; guest < (size = image_.size());) {
            uint64_t end = next_piece(guest, size, PIECE_BYTES);
            if (guest >= size) break;
            std::vector<uint64_t> found;
            auto ticket = co_await turn(guest, end, true);
            int error = co_await find_zeros(guest, std::min(end, image_.size()), found);
            image_.turns_.end(ticket);
            for (uint64_t zeros : found)
                if (error == 0) error = co_await give_up_if_zero(zeros);
            if (error != 0) co_return error;
            if (stopped()) co_return -ECANCELED;
            c_.done = guest = end;
        }
        int error = co_await image_.close(executor_);
        co_return error;
    }

    // Such clusters as are worth another look by somebody who has them for himself. Neighbours are read in
    // one piece.
    Task<int> find_zeros(uint64_t guest, uint64_t end, std::vector<uint64_t> &found) {
        uint64_t pending = guest;
        for (; guest < end; guest += cluster()) {
            Entry entry;
            if (int error = co_await image_.find(executor_, guest, entry)) co_return error;
            bool data = false, candidate = looks_empty(entry, guest, data);
            if (data) continue;
            if (int error = co_await read_pending(pending, guest, found)) co_return error;
            if (candidate) found.push_back(guest);
            pending = guest + cluster();
        }
        int error = co_await read_pending(pending, end, found);
        co_return error;
    }

    // data: that depends on its bytes. Of an extended entry they are looked at part by part, later.
    bool looks_empty(const Entry &entry, uint64_t guest, bool &data) const {
        us_qcow2_run run = image_.run_of(entry, guest, 0);
        // Nothing but zeros comes to so little.
        if (run.kind == US_QCOW2_INFLATE) return run.host_bytes <= 1024 + cluster() / 512;
        if (!run.exclusive) return false;
        data = !h_.shape.extended && image_.allocated_parts(entry, guest) != 0;
        return true;
    }

    Task<int> read_pending(uint64_t from, uint64_t end, std::vector<uint64_t> &found) {
        if (from >= end) co_return 0;
        std::vector<std::byte> bytes(end - from);
        if (int error = co_await image_.read_many(executor_, from, bytes)) co_return error;
        for (uint64_t at = 0; at < bytes.size(); at += cluster()) {
            auto part = std::span(bytes).subspan(at, std::min<uint64_t>(cluster(), bytes.size() - at));
            if (all_zeros(part)) found.push_back(from + at);
        }
        co_return 0;
    }

    Task<int> give_up_if_zero(uint64_t guest) {
        auto ticket = co_await turn(guest, guest + cluster(), false);
        int error = 0;
        if (guest < image_.size()) error = co_await look_and_give_up(guest);
        image_.turns_.end(ticket);
        co_return error;
    }

    Task<int> look_and_give_up(uint64_t guest) {
        Entry before, after;
        bool zeros = false;
        if (int error = co_await image_.may_change(executor_)) co_return error;
        if (int error = co_await image_.find(executor_, guest, before)) co_return error;
        if (image_.run_of(before, guest, 0).kind == US_QCOW2_BAD) co_return -EUCLEAN;
        bool data = false;
        if (!looks_empty(before, guest, data)) co_return 0;
        uint32_t allocated = image_.allocated_parts(before, guest);
        // Nobody writes there in place between the look and the change.
        if (int error = co_await image_.still(executor_, guest)) co_return error;
        if (int error = co_await holds_zeros(before, guest, allocated, zeros)) co_return error;
        if (!zeros || (backed_ && h_.version < 3)) co_return 0;
        if (backed_ && h_.shape.extended) {
            uint64_t were = before.word & US_QCOW2_COMPRESSED ? 0 : before.subclusters >> 32;
            after.subclusters = (were | allocated) << 32;
        } else if (backed_) {
            after.word = US_QCOW2_ZERO;
        }
        if (int error = co_await image_.set_entry(executor_, guest, after)) co_return error;
        image_.give_up(before, 0);
        c_.zeroed += cluster();
        co_return 0;
    }

    // Of what lies in the image; behind the disk's end nobody looks.
    Task<int> holds_zeros(const Entry &entry, uint64_t guest, uint32_t parts, bool &zeros) {
        uint64_t end = std::min(cluster(), image_.size() - guest);
        std::vector<std::byte> bytes;
        zeros = true;
        while (parts != 0 && zeros) {
            Range run = Subclusters(h_.shape).take_run(parts);
            bytes.resize(run.offset < end ? std::min(run.end(), end) - run.offset : 0);
            if (int error = co_await image_.read_cluster(entry, guest, run.offset, bytes)) co_return error;
            zeros = all_zeros(bytes);
        }
        co_return 0;
    }

    // ---- Moving

    // What moves leaves holes for what is left. Each time the image ends earlier, has fewer tables, or fewer
    // clusters behind its end to be: so this comes to an end.
    Task<int> move_all() {
        uint64_t before = UINT64_MAX;
        for (int times = 0; before != moved() && times < MAX_TIMES; times++) {
            before = moved();
            Layout layout;
            begin(Compaction::tables, image_.media_.size());
            if (int error = co_await move_tables(layout)) co_return error;
            if (int error = co_await move_clusters(layout)) co_return error;
            if (int error = co_await image_.close(executor_)) co_return error;
        }
        co_return 0;
    }

    uint64_t moved() const { return c_.moved + c_.moved_tables; }

    Task<int> move_tables(Layout &layout) {
        Standstill standstill(image_);
        if (int error = co_await stand_still(standstill)) co_return error;
        Revision next(image_, executor_);
        if (int error = co_await next.begin()) co_return error;
        uint64_t bytes = 0;
        int error = co_await next.gather(layout, bytes);
        if (error == 0) c_.moved_tables += bytes;
        co_return error;
    }

    Task<int> move_clusters(const Layout &layout) {
        uint64_t limit = layout.end() * cluster(), since = 0;
        if (layout.data_end * cluster() <= limit) co_return 0;
        begin(Compaction::clusters, image_.size());
        for (uint64_t guest = 0, size = 0; guest < (size = image_.size());) {
            uint64_t end = next_piece(guest, size, PIECE_BYTES);
            bool full = false;
            for (uint64_t at = guest; at < end; at += cluster()) {
                Entry entry;
                if (int error = co_await image_.find(executor_, at, entry)) co_return error;
                if (!may_move(entry, at, limit)) continue;
                auto ticket = co_await turn(at, at + cluster(), false);
                int error = co_await move_cluster(at, limit, full);
                image_.turns_.end(ticket);
                if (error != 0 || full) co_return error;
                since += cluster();
            }
            if (stopped()) co_return -ECANCELED;
            if (since >= ROUND_BYTES) {
                since = 0;
                if (int error = co_await image_.flush(executor_)) co_return error;
            }
            c_.done = guest = end;
        }
        co_return 0;
    }

    bool may_move(const Entry &entry, uint64_t guest, uint64_t limit) const {
        us_qcow2_run run = image_.run_of(entry, guest, 0);
        return run.exclusive && run.kind != US_QCOW2_BAD && run.host >= limit &&
               image_.allocated_parts(entry, guest) != 0;
    }

    // full: there is no hole any more.
    Task<int> move_cluster(uint64_t guest, uint64_t limit, bool &full) {
        Entry before;
        if (int error = co_await image_.may_change(executor_)) co_return error;
        if (int error = co_await image_.find(executor_, guest, before)) co_return error;
        if (!may_move(before, guest, limit)) co_return 0;
        if (int error = image_.check_place(before, guest, 0)) co_return error;
        uint64_t host = 0;
        if (int error = co_await image_.allocator_.allocate(executor_, host)) co_return error;
        full = host >= limit;
        int error = 0;
        if (!full) {
            uint32_t parts = image_.allocated_parts(before, guest);
            error = co_await image_.still(executor_, guest);
            if (error == 0) error = co_await image_.write_parts(before, guest, host, parts, 0, 0, {});
            Entry after{host | US_QCOW2_COPIED, before.subclusters};
            if (error == 0) error = co_await image_.set_entry(executor_, guest, after);
        }
        if (full || error != 0) {
            int released = co_await image_.allocator_.release(executor_, {host, cluster()});
            co_return error != 0 ? error : released;
        }
        image_.give_up(before, host);
        c_.moved += cluster();
        co_return 0;
    }

    // ---- Holes

    Task<int> give_back() {
        begin(Compaction::holes, image_.media_.size());
        for (uint64_t at = 0, end = 0; at < image_.media_.size();) {
            Standstill standstill(image_);
            if (int error = co_await stand_still(standstill)) co_return error;
            Revision now(image_, executor_);
            if (int error = co_await now.begin()) co_return error;
            if (int error = co_await now.give_back(at, at + HOLES_BYTES, end)) co_return error;
            c_.done = at += HOLES_BYTES;
            c_.end = std::max<uint64_t>(c_.end, end);
            if (stopped()) co_return -ECANCELED;
        }
        co_return 0;
    }

    Image &image_;
    Executor &executor_;
    Compaction &c_;
    const Header &h_;
    const bool backed_; // what is not allocated shows another disk
};

Task<int> compact(Image &image, Executor &executor, Compaction &compaction) {
    Compactor compactor(image, executor, compaction);
    int error = co_await compactor.run();
    co_return error;
}

} // namespace us::qcow2
