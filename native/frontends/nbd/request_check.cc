#include "frontends/nbd/request_check.h"

#include <cerrno>

namespace us::nbd {

namespace {

uint16_t valid_flags(uint16_t type, bool structured) {
    switch (type) {
    case CMD_READ:
        return CMD_FLAG_FUA | (structured ? CMD_FLAG_DF : 0);
    case CMD_WRITE_ZEROES:
        return CMD_FLAG_FUA | CMD_FLAG_NO_HOLE | CMD_FLAG_FAST_ZERO;
    case CMD_BLOCK_STATUS:
        return CMD_FLAG_FUA | CMD_FLAG_REQ_ONE;
    default:
        return CMD_FLAG_FUA;
    }
}

bool writes(uint16_t type) {
    return type == CMD_WRITE || type == CMD_TRIM || type == CMD_WRITE_ZEROES;
}

} // namespace

bool parse_command(const RequestHeader &header, Command &command) {
    if (header.magic != REQUEST_MAGIC) return false;
    command = {header.flags, header.type, header.cookie, header.offset, header.length};
    return true;
}

Refusal check_command(const Command &c, const Session &session) {
    const ExportInfo &info = *session.info;

    if (c.type == CMD_DISC) return {};
    if (c.type > CMD_BLOCK_STATUS) return {NBD_EINVAL, "unknown request type"};
    if (c.flags & ~valid_flags(c.type, session.structured))
        return {NBD_EINVAL, "flag is not valid for this request"};
    if (writes(c.type) && info.read_only) return {NBD_EPERM, "export is read-only"};
    if (c.type == CMD_TRIM && !(info.flags & FLAG_SEND_TRIM))
        return {NBD_EINVAL, "export cannot trim: its layers do not discard"};
    if (c.type == CMD_BLOCK_STATUS && !session.block_status)
        return {NBD_EINVAL, "no metadata context was selected for this export"};

    if (c.type == CMD_FLUSH) {
        if (c.offset != 0 || c.length != 0) return {NBD_EINVAL, "flush has neither offset nor length"};
        return {};
    }
    if (c.offset > info.size || c.length > info.size - c.offset) {
        bool out_of_space = c.type == CMD_WRITE || c.type == CMD_WRITE_ZEROES;
        return {out_of_space ? NBD_ENOSPC : NBD_EINVAL, "range ends behind the export"};
    }
    // A trim is a hint and is rounded inwards instead.
    if (((c.offset | c.length) & (info.minimum_block - 1)) != 0 && c.type != CMD_TRIM)
        return {NBD_EINVAL, "range is not aligned to the minimum block size"};
    if (c.length > MAX_PAYLOAD) {
        if (c.type == CMD_READ && c.flags & CMD_FLAG_DF)
            return {NBD_EOVERFLOW, "unfragmented read is longer than 32 MiB"};
        if (c.type == CMD_READ || c.type == CMD_WRITE) return {NBD_EINVAL, "payload is longer than 32 MiB"};
    }
    if (c.type == CMD_BLOCK_STATUS && c.length == 0) return {NBD_EINVAL, "block status of no bytes"};
    return {};
}

Error wire_error(int error, bool fast_zero) {
    switch (error) {
    case EPERM:
    case EROFS:
    case EACCES:
        return NBD_EPERM;
    case ENOMEM:
        return NBD_ENOMEM;
    case EINVAL:
        return NBD_EINVAL;
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
        return NBD_ENOSPC;
    case EOPNOTSUPP:
        return fast_zero ? NBD_ENOTSUP : NBD_EINVAL;
    case ESHUTDOWN:
        return NBD_ESHUTDOWN;
    default:
        return NBD_EIO;
    }
}

} // namespace us::nbd
