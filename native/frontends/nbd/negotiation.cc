#include "frontends/nbd/negotiation.h"

#include <algorithm>
#include <optional>

#include "frontends/nbd/protocol.h"

namespace us::nbd {

namespace {

using Bytes = std::span<const std::byte>;

void put(std::vector<std::byte> &out, const void *data, size_t bytes) {
    const auto *from = static_cast<const std::byte *>(data);
    out.insert(out.end(), from, from + bytes);
}
template <typename T> void put(std::vector<std::byte> &out, const T &message) {
    put(out, &message, sizeof message);
}
void put(std::vector<std::byte> &out, std::string_view text) {
    put(out, text.data(), text.size());
}

void reply(std::vector<std::byte> &out, uint32_t option, uint32_t type, size_t length) {
    OptionReplyHeader header;
    header.option = option;
    header.type = type;
    header.length = static_cast<uint32_t>(length);
    put(out, header);
}
void refuse(std::vector<std::byte> &out, uint32_t option, uint32_t type, std::string_view text) {
    reply(out, option, type, text.size());
    put(out, text);
}

// Reads an option's data front to back; every getter answers nothing once the data has been too short.
class Reader {
  public:
    explicit Reader(Bytes data) : data_(data) {}

    template <typename T> std::optional<T> number() {
        if (data_.size() < sizeof(T)) return std::nullopt;
        Wire<T> wire;
        std::memcpy(&wire, data_.data(), sizeof wire);
        data_ = data_.subspan(sizeof(T));
        return static_cast<T>(wire);
    }
    // A string behind its length.
    std::optional<std::string_view> string() {
        auto length = number<uint32_t>();
        if (!length || *length > MAX_STRING || *length > data_.size()) return std::nullopt;
        std::string_view text(reinterpret_cast<const char *>(data_.data()), *length);
        data_ = data_.subspan(*length);
        return text;
    }
    bool at_end() const { return data_.empty(); }

  private:
    Bytes data_;
};

// "The base: metadata namespace": the empty leaf is a wildcard for listing only.
bool selects_allocation(std::string_view query, bool listing) {
    return query == BASE_ALLOCATION || (listing && query == "base:");
}

} // namespace

void Negotiation::greet(std::vector<std::byte> &out) const {
    Greeting greeting;
    greeting.handshake_flags = FLAG_FIXED_NEWSTYLE | FLAG_NO_ZEROES;
    put(out, greeting);
}

size_t Negotiation::advance(Bytes input, std::vector<std::byte> &out) {
    if (!have_client_flags_) return take_client_flags(input);

    OptionHeader header;
    if (input.size() < sizeof header) return 0;
    std::memcpy(&header, input.data(), sizeof header);
    uint32_t length = header.length;
    if (header.magic != OPTION_MAGIC) {
        end("wrong magic number before an option");
        return sizeof header;
    }
    if (length > max_option_bytes) {
        refuse(out, header.option, REP_ERR_TOO_BIG, "option is longer than 65536 bytes");
        end("option is too long");
        return sizeof header;
    }
    if (input.size() < sizeof header + length) return 0;
    if (++nr_options_ > max_options) {
        refuse(out, header.option, REP_ERR_POLICY, "too many options");
        end("too many options");
    } else {
        option(header.option, input.subspan(sizeof header, length), out);
    }
    return sizeof header + length;
}

size_t Negotiation::take_client_flags(Bytes input) {
    be32 flags;
    if (input.size() < sizeof flags) return 0;
    std::memcpy(&flags, input.data(), sizeof flags);
    have_client_flags_ = true;
    no_zeroes_ = flags & FLAG_NO_ZEROES;
    // "Client flags": unknown ones end the connection.
    if (flags & ~uint32_t{FLAG_FIXED_NEWSTYLE | FLAG_NO_ZEROES}) end("unknown client flags");
    return sizeof flags;
}

void Negotiation::option(uint32_t option, Bytes data, std::vector<std::byte> &out) {
    switch (option) {
    case OPT_EXPORT_NAME:
        return export_name(data, out);
    case OPT_ABORT:
        reply(out, option, REP_ACK, 0);
        return end({});
    case OPT_LIST:
        if (!data.empty()) return refuse(out, option, REP_ERR_INVALID, "NBD_OPT_LIST carries no data");
        return list(out);
    case OPT_INFO:
    case OPT_GO:
        return info_or_go(option, data, out);
    case OPT_STRUCTURED_REPLY:
        if (!data.empty())
            return refuse(out, option, REP_ERR_INVALID, "NBD_OPT_STRUCTURED_REPLY carries no data");
        session_.structured = true;
        return reply(out, option, REP_ACK, 0);
    case OPT_LIST_META_CONTEXT:
    case OPT_SET_META_CONTEXT:
        return meta_context(option, data, out);
    case OPT_STARTTLS:
        return refuse(out, option, REP_ERR_UNSUP, "this server does not do TLS");
    default:
        return refuse(out, option, REP_ERR_UNSUP, "unknown option");
    }
}

void Negotiation::export_name(Bytes data, std::vector<std::byte> &out) {
    std::string_view name(reinterpret_cast<const char *>(data.data()), data.size());
    const ExportInfo *info = find_export(exports_, name);
    if (!info) return end("no such export"); // there is no error reply to this option
    ExportNameReply answer;
    answer.size = info->size;
    answer.transmission_flags = flags_of(*info);
    put(out, answer);
    if (!no_zeroes_) out.resize(out.size() + EXPORT_NAME_ZEROES);
    enter(*info);
}

void Negotiation::info_or_go(uint32_t option, Bytes data, std::vector<std::byte> &out) {
    Reader reader(data);
    auto name = reader.string();
    auto nr_requests = reader.number<uint16_t>();
    bool sizes = false, names = false, descriptions = false;
    for (uint32_t i = 0; nr_requests && i < *nr_requests; i++) {
        auto request = reader.number<uint16_t>();
        if (!request)
            nr_requests.reset();
        else if (*request == INFO_BLOCK_SIZE)
            sizes = true;
        else if (*request == INFO_NAME)
            names = true;
        else if (*request == INFO_DESCRIPTION)
            descriptions = true;
    }
    if (!name || !nr_requests || !reader.at_end())
        return refuse(out, option, REP_ERR_INVALID, "malformed request for information");

    const ExportInfo *info = find_export(exports_, *name);
    if (!info)
        return refuse(out, option, REP_ERR_UNKNOWN,
                      name->empty() ? "no default export: name one of several" : "no such export");

    InfoExport answer;
    answer.size = info->size;
    answer.transmission_flags = flags_of(*info);
    reply(out, option, REP_INFO, sizeof answer);
    put(out, answer);
    if (sizes) {
        InfoBlockSize block;
        block.minimum = info->minimum_block;
        block.preferred = info->preferred_block;
        block.maximum_payload = MAX_PAYLOAD;
        reply(out, option, REP_INFO, sizeof block);
        put(out, block);
    }
    auto text = [&](Info type, std::string_view value) {
        reply(out, option, REP_INFO, sizeof(be16) + value.size());
        put(out, be16{type});
        put(out, value);
    };
    if (names) text(INFO_NAME, info->name);
    if (descriptions) text(INFO_DESCRIPTION, info->description);
    reply(out, option, REP_ACK, 0);
    if (option == OPT_GO) enter(*info);
}

void Negotiation::list(std::vector<std::byte> &out) const {
    for (const ExportInfo &info : exports_) {
        reply(out, OPT_LIST, REP_SERVER, sizeof(be32) + info.name.size() + info.description.size());
        put(out, be32{static_cast<uint32_t>(info.name.size())});
        put(out, std::string_view(info.name));
        put(out, std::string_view(info.description));
    }
    reply(out, OPT_LIST, REP_ACK, 0);
}

void Negotiation::meta_context(uint32_t option, Bytes data, std::vector<std::byte> &out) {
    bool listing = option == OPT_LIST_META_CONTEXT;
    if (!listing) context_export_ = nullptr; // replaced "including when this command fails"
    if (!session_.structured)
        return refuse(out, option, REP_ERR_INVALID, "metadata contexts need structured replies");

    Reader reader(data);
    auto name = reader.string();
    auto nr_queries = reader.number<uint32_t>();
    bool selected = listing && nr_queries == 0u;
    for (uint32_t i = 0; nr_queries && i < *nr_queries; i++) {
        auto query = reader.string();
        if (!query)
            nr_queries.reset();
        else if (selects_allocation(*query, listing))
            selected = true;
    }
    if (!name || !nr_queries || !reader.at_end())
        return refuse(out, option, REP_ERR_INVALID, "malformed list of metadata contexts");

    const ExportInfo *info = find_export(exports_, *name);
    if (!info) return refuse(out, option, REP_ERR_UNKNOWN, "no such export");
    if (selected) {
        std::string_view context = BASE_ALLOCATION;
        reply(out, option, REP_META_CONTEXT, sizeof(be32) + context.size());
        put(out, be32{listing ? 0 : ALLOCATION_CONTEXT_ID});
        put(out, context);
        if (!listing) context_export_ = info;
    }
    reply(out, option, REP_ACK, 0);
}

void Negotiation::enter(const ExportInfo &info) {
    session_.info = &info;
    session_.block_status = session_.structured && context_export_ == &info;
    state_ = State::transmission;
}

uint16_t Negotiation::flags_of(const ExportInfo &info) const {
    return session_.structured ? info.flags | FLAG_SEND_DF : info.flags;
}

void Negotiation::end(std::string_view complaint) {
    complaint_ = complaint;
    state_ = State::ended;
}

} // namespace us::nbd
