#include "engine/shelf.h"

#include <sys/socket.h>
#include <sys/uio.h>

#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <system_error>

namespace us {

namespace {

[[noreturn]] void fail(const char *what) {
    throw std::system_error(errno, std::generic_category(), what);
}

struct Message {
    Message() {
        part = {note, sizeof(note)};
        header.msg_iov = &part;
        header.msg_iovlen = 1;
        header.msg_control = control;
        header.msg_controllen = sizeof(control);
    }
    std::byte note[Shelf::NOTE_BYTES]{};
    alignas(cmsghdr) char control[CMSG_SPACE(Shelf::MAX_DESCRIPTORS * sizeof(int))]{};
    iovec part{};
    msghdr header{};
};

std::vector<Descriptor> descriptors_of(msghdr &header) {
    std::vector<Descriptor> all;
    for (cmsghdr *one = CMSG_FIRSTHDR(&header); one; one = CMSG_NXTHDR(&header, one)) {
        if (one->cmsg_level != SOL_SOCKET || one->cmsg_type != SCM_RIGHTS) continue;
        for (size_t at = 0; CMSG_LEN(at + sizeof(int)) <= one->cmsg_len; at += sizeof(int)) {
            int number;
            memcpy(&number, CMSG_DATA(one) + at, sizeof(number));
            all.emplace_back(number);
        }
    }
    return all;
}

} // namespace

Shelf::Shelf() {
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) != 0)
        fail("cannot make a socket for what a server leaves to the next one");
    in_ = Descriptor(pair[0]);
    out_ = Descriptor(pair[1]);
}

std::vector<Shelf::Item> Shelf::take_all() {
    std::vector<Item> items;
    for (;;) {
        Message message;
        ssize_t n = recvmsg(out_.number(), &message.header, MSG_CMSG_CLOEXEC);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 && errno == EAGAIN) return items;
        if (n < 0) fail("cannot take what the server before has left");
        items.push_back({{message.note, message.note + n}, descriptors_of(message.header)});
    }
}

void Shelf::put(std::span<const std::byte> note, std::span<const int> descriptors) {
    if (note.empty() || note.size() > NOTE_BYTES || descriptors.empty() ||
        descriptors.size() > MAX_DESCRIPTORS)
        throw std::logic_error("too much for one place of the shelf");
    Message message;
    memcpy(message.note, note.data(), note.size());
    message.part.iov_len = note.size();
    message.header.msg_controllen = CMSG_SPACE(descriptors.size_bytes());
    cmsghdr *rights = CMSG_FIRSTHDR(&message.header);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(descriptors.size_bytes());
    memcpy(CMSG_DATA(rights), descriptors.data(), descriptors.size_bytes());
    while (sendmsg(in_.number(), &message.header, 0) < 0)
        if (errno != EINTR) fail("cannot leave something to the next server");
}

} // namespace us
