#include "targets/qcow2/inflater.h"

#include <algorithm>
#include <cerrno>

namespace us::qcow2 {

namespace {

// Readers that go through an image side by side; and no more memory than that.
constexpr size_t MAX_CLUSTERS = 8;
constexpr uint64_t MAX_BYTES = 4 << 20;

} // namespace

Task<int> Inflater::read(Media &media, Compression type, us_qcow2_run run, uint64_t cluster_bytes,
                         uint64_t within, std::span<std::byte> into) {
    if (into.size() == cluster_bytes) {
        int error = co_await inflate_all(media, type, run, into);
        co_return error;
    }
    std::unique_lock lock(mutex_);
    Held cluster = find(run);
    if (cluster) {
        while (!cluster->ready) {
            co_await inflated_.wait(*Executor::of_this_thread, lock);
            lock.lock();
        }
        lock.unlock();
    } else {
        cluster = std::make_shared<Cluster>(run.host, run.host_bytes, cluster_bytes);
        if (!cluster->bytes) co_return -ENOMEM;
        remember(cluster);
        lock.unlock();
        int error = co_await inflate_all(media, type, run, cluster->bytes.span());
        lock.lock();
        cluster->ready = true;
        cluster->error = error;
        if (error != 0) std::erase(clusters_, cluster); // the next one reads it again
        inflated_.wake();
        lock.unlock();
    }
    if (cluster->error == 0) std::copy_n(cluster->bytes.data() + within, into.size(), into.begin());
    co_return cluster->error;
}

// And makes it the latest.
Inflater::Held Inflater::find(const us_qcow2_run &run) {
    auto found = std::find_if(clusters_.begin(), clusters_.end(), [&](const Held &cluster) {
        return cluster->host == run.host && cluster->host_bytes == run.host_bytes;
    });
    if (found == clusters_.end()) return nullptr;
    std::rotate(found, found + 1, clusters_.end());
    return clusters_.back();
}

// Those that are forgotten before they are ready have all that wait for them nonetheless.
void Inflater::remember(const Held &cluster) {
    size_t most = std::clamp<uint64_t>(MAX_BYTES / cluster->bytes.span().size(), 1, MAX_CLUSTERS);
    while (clusters_.size() >= most)
        clusters_.erase(clusters_.begin());
    clusters_.push_back(cluster);
}

void Inflater::forget() {
    std::lock_guard lock(mutex_);
    clusters_.clear();
}

// In whole blocks, which need no detour on their way: what lies around the data is not looked at.
Task<int> Inflater::inflate_all(Media &media, Compression type, us_qcow2_run run,
                                std::span<std::byte> cluster) {
    uint64_t start = run.host / Buffer::ALIGNMENT * Buffer::ALIGNMENT;
    Buffer blocks(round_up(run.host + run.host_bytes, Buffer::ALIGNMENT) - start);
    if (!blocks) co_return -ENOMEM;
    reads_++;
    int error = co_await media.read(start, blocks.span());
    auto data = blocks.span().subspan(run.host - start, run.host_bytes);
    bool good = false;
    if (error == 0 && reads_ > 1 && threads_.available())
        good = co_await threads_.run(*Executor::of_this_thread, type, data, cluster);
    else if (error == 0)
        good = inflate(type, data, cluster);
    reads_--;
    co_return error == 0 && !good ? -EIO : error;
}

} // namespace us::qcow2
