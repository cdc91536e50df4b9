// qemu's image locking bytes, as open-file-description locks (QEMU block/file-posix.c, raw_apply_lock_bytes
// and raw_check_lock_bytes): a shared lock on byte 100 + P says "I use permission P", on 200 + P "nobody else
// may". So qemu's tools and our servers keep out of each other's images, and a server out of its
// predecessor's.
#pragma once

namespace us {

// Takes the locks of a guest device on fd: consistent read, and for a writer write and resize; nobody else
// may write or resize. 0; -EAGAIN when somebody else uses the file (nothing is held then); another -errno
// when the file system cannot lock. Locks end when the last reference to the open file description is gone,
// requests in flight included.
int lock_image(int fd, bool writer);

// Ends them now, whoever still refers to the open file description.
void unlock_image(int fd);

} // namespace us
