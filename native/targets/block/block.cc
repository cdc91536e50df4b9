#include "targets/block/block.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <memory>

#include "targets/wait_for.h"

namespace us {

namespace {

std::string first_line(const std::string &path) {
    std::ifstream in(path);
    std::string line;
    std::getline(in, line);
    return line;
}

// The smallest of udev's persistent names that leads to this device.
std::string by_id_name(dev_t device) {
    std::unique_ptr<DIR, int (*)(DIR *)> dir(opendir("/dev/disk/by-id"), closedir);
    std::string best;
    while (dirent *entry = dir ? readdir(dir.get()) : nullptr) {
        std::string name = entry->d_name;
        struct stat st {};
        if (name[0] == '.' || stat(("/dev/disk/by-id/" + name).c_str(), &st) != 0) continue;
        if (S_ISBLK(st.st_mode) && st.st_rdev == device && (best.empty() || name < best)) best = name;
    }
    return best;
}

} // namespace

void BlockLeaf::open(const OpenContext &context) {
    bool writer = !config().read_only;
    struct stat st {};
    if (stat(path().c_str(), &st) != 0) refuse_errno(errno, "cannot look at");
    if (!S_ISBLK(st.st_mode)) refuse_path("not-a-block-device", path() + " is not a block device");

    std::string wanted = config().params.value("direct", "auto");
    direct_ = wanted == "on" || (wanted == "auto" && config().direct_preferred);
    int flags = (writer ? O_RDWR | O_EXCL : O_RDONLY) | (direct_ ? O_DIRECT : 0);
    int error = wait_while(-EBUSY, context, "exclusive access to " + path(), [&] { return try_open(flags); });
    if (error == -EBUSY)
        refuse_path("path-in-use", path() + " is in use: mounted, or part of another device");
    if (error != 0) refuse_errno(-error, "cannot open");
    if (fstat(fd_, &st) != 0) refuse_errno(errno, "cannot look at");
    if (!S_ISBLK(st.st_mode)) refuse_path("not-a-block-device", path() + " is not a block device");

    uint64_t size = 0;
    int block = 0;
    if (ioctl(fd_, BLKGETSIZE64, &size) != 0 || ioctl(fd_, BLKSSZGET, &block) != 0)
        refuse_errno(errno, "cannot measure");
    if (size < config().size)
        refuse_path("file-too-small", path() + " has " + std::to_string(size) + " bytes, and " +
                                          std::to_string(config().size) + " are needed");
    if (static_cast<uint32_t>(block) > config().geometry.logical_block)
        refuse_path("block-size-mismatch", path() + " has blocks of " + std::to_string(block) +
                                               " bytes, larger than the layer's " +
                                               std::to_string(config().geometry.logical_block));
    identify();
}

void BlockLeaf::identify() {
    struct stat st {};
    if (fstat(fd_, &st) != 0) refuse_errno(errno, "cannot look at");
    uint64_t size = 0;
    if (ioctl(fd_, BLKGETSIZE64, &size) != 0) refuse_errno(errno, "cannot measure");
    std::string sys =
        "/sys/dev/block/" + std::to_string(major(st.st_rdev)) + ":" + std::to_string(minor(st.st_rdev));
    // From the most lasting name to the least: the disk's own, device mapper's, udev's, the path as written.
    std::string name = first_line(sys + "/wwid");
    if (name.empty()) name = first_line(sys + "/device/wwid");
    if (name.empty()) name = first_line(sys + "/dm/uuid");
    if (name.empty()) name = by_id_name(st.st_rdev);
    if (name.empty()) name = path();
    // A partition shares its disk's name.
    std::string start = first_line(sys + "/start");
    identity_ = "block:" + name + (start.empty() ? "" : "@" + start) + ":" + std::to_string(size);
}

} // namespace us
