// Pure parts of the server program and the ublk frontend: when to start a dead worker again, and what a
// layer's geometry looks like to the driver.
#include "check.h"
#include "frontends/ublk/params.h"
#include "server/restart_policy.h"

using us::RestartPolicy;

namespace {

constexpr int64_t GIVEN_UP = -1;

int64_t pause_after(RestartPolicy &policy, int64_t at_ms, int64_t ready_ms, bool killed = false) {
    return policy.after({at_ms, ready_ms, killed}).value_or(GIVEN_UP);
}

} // namespace

TEST(server_restart_at_once_when_it_was_killed_while_serving) {
    RestartPolicy policy;
    for (int64_t at = 100; at < 100'000; at += 100)
        CHECK_EQ(pause_after(policy, at, at - 1, true), 0);
}

TEST(server_restart_waits_longer_and_longer_when_it_cannot_get_ready) {
    RestartPolicy policy;
    const int64_t expected[] = {0, 10, 20, 40, 80, 160, 320, 640, 1000, 1000};
    for (int64_t pause : expected)
        CHECK_EQ(pause_after(policy, 1, 0), pause);
}

TEST(server_restart_gives_up_after_twenty_failures_in_a_minute) {
    RestartPolicy policy;
    for (int i = 1; i < 20; i++)
        CHECK(pause_after(policy, i * 1000, 0) >= 0);
    CHECK_EQ(pause_after(policy, 20'000, 0), GIVEN_UP);
}

TEST(server_restart_forgets_failures_older_than_a_minute) {
    RestartPolicy policy;
    for (int i = 0; i < 100; i++)
        CHECK(pause_after(policy, i * 4'000, 0) >= 0);
}

TEST(server_restart_counts_a_crash_soon_after_it_got_ready) {
    RestartPolicy policy;
    CHECK_EQ(pause_after(policy, 500, 100), 0);
    CHECK_EQ(pause_after(policy, 900, 600), 10);
    CHECK_EQ(pause_after(policy, 9'000, 1'000), 0); // it served for eight seconds
    CHECK_EQ(pause_after(policy, 9'100, 9'050), 0); // so this one is the first again
    CHECK_EQ(pause_after(policy, 9'200, 9'150), 10);
}

TEST(ublk_params_of_a_plain_layer) {
    us::Geometry geometry;
    geometry.physical_block = geometry.io_min = 4096;
    us::ublk::params p =
        us::ublk::device_params(geometry, {.size_bytes = 1 << 20, .max_io_bytes = 512 << 10});
    CHECK_EQ(p.types, us::ublk::PARAM_TYPE_BASIC | us::ublk::PARAM_TYPE_DMA_ALIGN);
    CHECK_EQ(p.len, uint32_t{sizeof p});
    CHECK_EQ(p.basic.attrs, us::ublk::ATTR_VOLATILE_CACHE | us::ublk::ATTR_FUA);
    CHECK_EQ(int{p.basic.logical_bs_shift}, 9);
    CHECK_EQ(int{p.basic.physical_bs_shift}, 12);
    CHECK_EQ(int{p.basic.io_min_shift}, 12);
    CHECK_EQ(int{p.basic.io_opt_shift}, 12);
    CHECK_EQ(p.basic.dev_sectors, uint64_t{2048});
    CHECK_EQ(p.basic.max_sectors, 1024u);
    CHECK_EQ(p.dma.alignment, 3u);
}

TEST(ublk_params_keep_the_power_of_two_that_divides_an_odd_stripe) {
    us::Geometry geometry;
    geometry.io_min = 64 << 10;
    geometry.io_opt = 3 * (64 << 10);
    us::ublk::params p =
        us::ublk::device_params(geometry, {.size_bytes = 1 << 20, .max_io_bytes = 512 << 10});
    CHECK_EQ(int{p.basic.io_min_shift}, 16);
    CHECK_EQ(int{p.basic.io_opt_shift}, 16);
}

TEST(ublk_params_without_a_cache_ask_for_no_fua) {
    us::Geometry geometry;
    geometry.volatile_cache = false;
    us::ublk::params p =
        us::ublk::device_params(geometry, {.size_bytes = 1 << 20, .max_io_bytes = 512 << 10});
    CHECK_EQ(p.basic.attrs, 0u);
}

TEST(ublk_params_discard_is_cut_to_what_a_request_can_hold) {
    us::Geometry geometry;
    geometry.discard_granularity = 4096;
    geometry.max_discard = geometry.max_write_zeroes = uint64_t{1} << 40;
    us::ublk::Limits limits{.size_bytes = 1 << 20, .max_io_bytes = 512 << 10};
    us::ublk::params p = us::ublk::device_params(geometry, limits);
    CHECK(p.types & us::ublk::PARAM_TYPE_DISCARD);
    CHECK_EQ(p.discard.max_discard_sectors, 0xffffffffu / 512 / 8 * 8);
    CHECK_EQ(p.discard.max_write_zeroes_sectors, p.discard.max_discard_sectors);
    CHECK_EQ(p.discard.discard_granularity, 4096u);
    CHECK_EQ(int{p.discard.max_discard_segments}, 1);

    limits.read_only = true;
    CHECK(!(us::ublk::device_params(geometry, limits).types & us::ublk::PARAM_TYPE_DISCARD));

    limits.read_only = false;
    geometry.max_discard = geometry.discard_granularity = 0; // zeros without data, but no discard
    p = us::ublk::device_params(geometry, limits);
    CHECK_EQ(p.discard.max_discard_sectors, 0u);
    CHECK_EQ(int{p.discard.max_discard_segments}, 0);
    CHECK_EQ(p.discard.discard_granularity, 512u);
}

TEST(ublk_params_zero_copy_aligns_memory_to_blocks) {
    us::Geometry geometry;
    geometry.logical_block = geometry.physical_block = 4096;
    us::ublk::Limits limits{.size_bytes = 1 << 20, .max_io_bytes = 1 << 20, .zero_copy = true};
    CHECK_EQ(us::ublk::device_params(geometry, limits).dma.alignment, 4095u);
}
