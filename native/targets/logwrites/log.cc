#include "targets/logwrites/log.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace us {

using logformat::Entry;
using logformat::Super;

namespace {

constexpr uint64_t BUFFER_BYTES = 1 << 20;

} // namespace

// Aligned for direct IO.
struct Log::Buffer {
    alignas(4096) std::byte bytes[BUFFER_BYTES];
};

Log::Log() = default;
Log::~Log() = default;

// All of it, whatever one call of the leaf manages.
int Log::transfer(us_op op, std::byte *memory, uint64_t offset, uint64_t bytes) {
    while (bytes > 0) {
        LeafIo io;
        io.op = op;
        io.offset = offset;
        io.length = bytes;
        io.buffer.data = memory;
        int64_t n = leaf_->run(io);
        if (n < 0) return static_cast<int>(n);
        if (n == 0) return -EIO;
        memory += n;
        offset += static_cast<uint64_t>(n);
        bytes -= static_cast<uint64_t>(n);
    }
    return 0;
}

void Log::open(Leaf &leaf, uint32_t sector_bytes, const std::function<void(const std::string &)> &notice) {
    leaf_ = &leaf;
    sector_bytes_ = sector_bytes;
    buffer_ = std::make_unique<Buffer>();
    const std::string &name = leaf.config().name;
    auto refuse = [&](const std::string &why) {
        throw ConfigError("log-unusable", "the log \"" + name + "\" " + why, name, leaf.path());
    };
    if (leaf.config().size < 3 * uint64_t{sector_bytes}) refuse("has no room for an entry");
    if (int error = transfer(US_OP_READ, buffer_->bytes, 0, sector_bytes))
        refuse(std::string("cannot be read: ") + strerror(-error));

    Super super;
    memcpy(&super, buffer_->bytes, sizeof super);
    end_ = next_ = sector_bytes;
    if (super.magic == logformat::MAGIC) {
        if (super.version != logformat::VERSION)
            refuse("has version " + std::to_string(super.version) + " of the format, and 1 is known");
        if (super.sector_bytes != sector_bytes)
            refuse("has sectors of " + std::to_string(super.sector_bytes) + " bytes, and " +
                   std::to_string(sector_bytes) + " are to be recorded");
        follow(super.nr_entries, notice);
    } else {
        bool blank = std::all_of(buffer_->bytes, buffer_->bytes + sector_bytes,
                                 [](std::byte byte) { return byte == std::byte{0}; });
        if (!blank) refuse("holds something that is not a log: name another, or clear it");
        if (int error = write_super()) refuse(std::string("cannot be written: ") + strerror(-error));
    }
}

void Log::remember(const Entry &entry, const std::string &text) {
    if (!(entry.flags & logformat::MARK)) return;
    if (text == logformat::ENDED_MARK)
        ended_ = true;
    else if (!text.starts_with(logformat::OWN_MARK))
        last_mark_ = text;
}

// From entry to entry: only they say where the next one is.
void Log::follow(uint64_t nr_entries, const std::function<void(const std::string &)> &notice) {
    uint64_t size = leaf_->config().size;
    while (nr_entries_ < nr_entries && !ended_) {
        if (size - end_ < sector_bytes_ || transfer(US_OP_READ, buffer_->bytes, end_, sector_bytes_) != 0)
            break;
        Entry entry;
        memcpy(&entry, buffer_->bytes, sizeof entry);
        uint64_t room = (size - end_ - sector_bytes_) / sector_bytes_,
                 sectors = logformat::data_sectors(entry);
        if (sectors > room || entry.data_bytes > sector_bytes_ - sizeof entry) break;
        auto text = reinterpret_cast<const char *>(buffer_->bytes + sizeof entry);
        remember(entry, std::string(text, entry.data_bytes));
        end_ += (1 + sectors) * sector_bytes_;
        nr_entries_++;
    }
    if (nr_entries_ < nr_entries && !ended_)
        notice("the log has " + std::to_string(nr_entries) + " entries, and only " +
               std::to_string(nr_entries_) + " are whole: it goes on behind them");
    next_ = end_;
}

int Log::write_out() {
    int error = transfer(US_OP_WRITE, buffer_->bytes, next_, filled_);
    next_ += filled_;
    filled_ = 0;
    return error;
}

int Log::write_super() {
    Super super{logformat::MAGIC, logformat::VERSION, nr_entries_, sector_bytes_};
    memset(buffer_->bytes, 0, sector_bytes_);
    memcpy(buffer_->bytes, &super, sizeof super);
    return transfer(US_OP_WRITE, buffer_->bytes, 0, sector_bytes_);
}

int Log::put_entry(const Entry &entry, const std::string &text) {
    if (filled_ == BUFFER_BYTES)
        if (int error = write_out()) return error;
    std::byte *at = buffer_->bytes + filled_;
    memset(at, 0, sector_bytes_);
    memcpy(at, &entry, sizeof entry);
    memcpy(at + sizeof entry, text.data(), text.size());
    filled_ += sector_bytes_;
    return 0;
}

int Log::put_data(const HeldWrite &write, const HeldWrites &held) {
    uint64_t bytes = logformat::data_sectors(write.entry) * sector_bytes_;
    for (uint64_t done = 0; done < bytes;) {
        if (filled_ == BUFFER_BYTES)
            if (int error = write_out()) return error;
        uint64_t n = std::min(bytes - done, BUFFER_BYTES - filled_);
        if (int error = held.read(write, done, buffer_->bytes + filled_, n)) return error;
        filled_ += n;
        done += n;
    }
    return 0;
}

// As little as the log's leaf can make of it.
int Log::put_zeroes(uint64_t bytes) {
    if (int error = write_out()) return error;
    LeafIo io;
    io.op = US_OP_WRITE_ZEROES;
    io.offset = next_;
    io.length = bytes;
    int64_t made = leaf_->run(io);
    if (made < 0 && made != -EOPNOTSUPP && made != -ENOTSUP) return static_cast<int>(made);
    if (made < 0) memset(buffer_->bytes, 0, BUFFER_BYTES);
    for (uint64_t done = 0; made < 0 && done < bytes;) {
        uint64_t n = std::min(bytes - done, BUFFER_BYTES);
        if (int error = transfer(US_OP_WRITE, buffer_->bytes, next_ + done, n)) return error;
        done += n;
    }
    next_ += bytes;
    return 0;
}

// Into the buffer, and what has no more room there on to the leaf. 1 when the log has no room.
int Log::place(const HeldWrite &write, HeldWrites &held) {
    uint64_t bytes = (1 + logformat::data_sectors(write.entry)) * sector_bytes_;
    uint64_t room = leaf_->config().size - (next_ + filled_);
    if (room < bytes || room - bytes < sector_bytes_) return 1;
    if (int error = held.placed(write, nr_entries_ + 1)) return error;
    if (int error = put_entry(write.entry, write.text)) return error;
    int error = write.zeroes ? put_zeroes(bytes - sector_bytes_) : put_data(write, held);
    if (error != 0) return error;
    nr_entries_++;
    remember(write.entry, write.text);
    return 0;
}

int Log::append(const std::vector<HeldWrite> &writes, HeldWrites &held, size_t &placed) {
    placed = 0;
    if (ended_) return -ENOSPC;
    uint64_t counted = nr_entries_;
    int result = 0;
    for (const HeldWrite &write : writes) {
        result = place(write, held);
        if (result != 0) break;
    }
    int error = result < 0 ? result : write_out();
    if (error != 0) {
        nr_entries_ = counted;
        return error;
    }
    end_ = next_;
    placed = nr_entries_ - counted;
    if (placed > 0) error = write_super();
    return error != 0 ? error : result != 0 ? -ENOSPC : 0;
}

void Log::end() {
    if (ended_) return;
    ended_ = true;
    filled_ = 0;
    next_ = end_; // whatever is half written behind it
    Entry entry{0, 0, logformat::MARK, strlen(logformat::ENDED_MARK)};
    if (put_entry(entry, logformat::ENDED_MARK) == 0 && write_out() == 0) {
        nr_entries_++;
        end_ = next_;
    }
    write_super();
}

} // namespace us
