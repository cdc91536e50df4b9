// What keeps a server from harming its host, and the host's memory reclaim from hanging on the server.
#pragma once

namespace us {

// Once, before any worker is forked: children inherit it. Memory that this process asks for never waits for
// IO on a device that it serves (PR_SET_IO_FLUSHER), and its locked memory is not limited. Root only; logs
// what is refused.
void become_io_flusher();

// Locks what is mapped now and (where locked memory is not limited) later, as soon as it is touched, and
// reads all code in: no page fault of the IO path may wait for a disk. Root only; logs what is refused.
void lock_memory();

// A mount namespace of its own whose root is an empty tmpfs: no path can be opened any more, and no file
// system of the host stays busy because of this process. For the calling thread and threads that it starts
// later, so call it before starting any. `folder` exists and is covered for a moment. Root only; logs what is
// refused, and goes on without.
void enter_empty_root(const char *folder);

} // namespace us
