#include "frontends/nbd/acceptor.h"

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>

#include "frontends/nbd/sockets.h"

namespace us::nbd {

Acceptor::Acceptor(const std::vector<std::unique_ptr<Worker>> &workers, const std::vector<int> &listening)
    : workers_(workers), accepts_(listening.size()) {
    for (size_t i = 0; i < listening.size(); i++) {
        accepts_[i].acceptor = this;
        accepts_[i].listening_fd = listening[i];
        accepts_[i].fn = [](Completion &self, int32_t result, uint32_t) {
            auto &accept = static_cast<Accept &>(self);
            accept.acceptor->accepted(accept, result);
        };
    }
}

void Acceptor::start() {
    for (Accept &accept : accepts_)
        arm(accept);
}

void Acceptor::stop() {
    stopped_ = true;
    static Completion nobody = {[](Completion &, int32_t, uint32_t) {}};
    for (Accept &accept : accepts_) {
        io_uring_sqe *sqe = workers_.front()->queue().prepare(nobody);
        io_uring_prep_cancel64(sqe, reinterpret_cast<uintptr_t>(static_cast<Completion *>(&accept)), 0);
    }
}

void Acceptor::arm(Accept &accept) {
    if (stopped_) return;
    io_uring_sqe *sqe = workers_.front()->queue().prepare(accept);
    io_uring_prep_accept(sqe, accept.listening_fd, nullptr, nullptr, SOCK_CLOEXEC);
}

void Acceptor::accepted(Accept &accept, int32_t result) {
    if (result >= 0) {
        if (stopped_)
            close(result);
        else
            deal(result);
        return arm(accept);
    }
    if (stopped_) return;
    if (result == -EMFILE || result == -ENFILE || result == -ENOMEM || result == -ENOBUFS) {
        // Trying again at once would only fail again, as long as nobody leaves.
        workers_.front()->complain(std::string("cannot accept: ") + strerror(-result));
        return workers_.front()->at_tick([this, &accept] { arm(accept); });
    }
    arm(accept); // the client has given up in the meantime
}

void Acceptor::deal(int fd) {
    uint32_t total = 0;
    Worker *least = workers_.front().get();
    for (auto &worker : workers_) {
        total += worker->nr_connections();
        if (worker->nr_connections() < least->nr_connections()) least = worker.get();
    }
    if (total >= max_connections) {
        workers_.front()->complain("too many clients");
        close(fd);
        return;
    }
    tune_connection(fd);
    least->expect();
    least->post([least, fd] { least->add(fd, fd); });
}

} // namespace us::nbd
