// Requests in flight that outlive their server: the messages, and what a server does with what one
// before it has left. Each single store of a server is tried by InflightCrashTest, its real end by
// ServeTest.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <array>
#include <cstring>
#include <string>
#include <vector>

#include "testing/vhost_user_server_fixture.h"
#include "virtio/ring/inflight_region.h"

namespace bellhop {
namespace {

using namespace vhost_user;
using testing::eventually;
using Client = testing::VhostUserClient;

constexpr std::uint64_t kPackedBit = virtio::feature_mask(virtio::kFeatureRingPacked);
constexpr std::uint64_t kRingsBytes = 4096;

class VhostUserInflightTest : public ::testing::TestWithParam<bool>,
                              public testing::VhostUserServerFixture {
 protected:
  [[nodiscard]] static std::uint64_t features() {
    return Client::kVersion1 | Client::kProtocolBit | (GetParam() ? kPackedBit : 0);
  }
  /// All that a front end says up to the rings.
  bool greet(Client& one) const {
    return one.connect(path) && one.negotiate(features(), Client::kTracking) && one.set_memory();
  }
  bool begin(Client& one, std::uint32_t base) const {
    return greet(one) && one.track_inflight() && one.start_ring(0, base);
  }
  [[nodiscard]] std::span<std::byte> ring_bytes() const {
    return {client.memory.regions()[0].host + Client::kRingAt, kRingsBytes};
  }
  static std::vector<std::byte> contents_of(const Client::Inflight& inflight) {
    std::vector<std::byte> all(inflight.region.mmap_size);
    EXPECT_EQ(::pread(inflight.file.get(), all.data(), all.size(), 0),
              static_cast<ssize_t>(all.size()));
    return all;
  }
  static void set_contents(const Client::Inflight& inflight, std::span<const std::byte> all) {
    EXPECT_EQ(::pwrite(inflight.file.get(), all.data(), all.size(), 0),
              static_cast<ssize_t>(all.size()));
  }
  void expect_good_service() const {
    Client good(1, 16, {.packed = GetParam()});
    ASSERT_TRUE(begin(good, good.first_base()));
    EXPECT_TRUE(good.echo(0));
  }

  Client client{1, 16, {.packed = GetParam()}};
};
INSTANTIATE_TEST_SUITE_P(Rings, VhostUserInflightTest, ::testing::Bool(),
                         [](const auto& ring) { return ring.param ? "packed" : "split"; });

TEST_P(VhostUserInflightTest, WhatALostServerHadInFlightIsDone) {
  for (const std::uint32_t said : {0U, 3U, 7U}) {
    // Of split rings QEMU says the used index, Cloud Hypervisor the available one; of packed rings
    // QEMU what it heard last. None of it counts.
    if (GetParam() && said != 0) continue;
    client = Client(1, 16, {.packed = GetParam()});
    ASSERT_TRUE(begin(client, client.first_base()));
    for (unsigned n = 0; n < 3; ++n) ASSERT_TRUE(client.echo(0));
    echo->hold = true;
    for (unsigned n = 0; n < 4; ++n) client.offer(0, bytes(std::string("lost") + char('0' + n)), n);
    client.rings[0]->kick.signal();
    ASSERT_TRUE(eventually([&] { return echo->held == 4; }));
    const std::vector<std::byte> ring(ring_bytes().begin(), ring_bytes().end());
    const auto noted = contents_of(client.inflight);
    echo->release();
    client.disconnect();
    ASSERT_TRUE(eventually([&] { return device().running() == 0; }));
    // As if it had been killed before.
    std::ranges::copy(ring, ring_bytes().begin());
    set_contents(client.inflight, noted);
    (void)client.rings[0]->call.consume();
    ASSERT_TRUE(begin(client, GetParam() ? client.first_base() : said));
    for (unsigned n = 0; n < 4; ++n) EXPECT_EQ(client.reap(0), 5U);
    EXPECT_NE(client.rings[0]->call.consume(), 0U);
    for (unsigned n = 0; n < 40; ++n) ASSERT_TRUE(client.echo(0)) << n;
    EXPECT_EQ(client.stop_ring(0).has_value(), true);
    client.disconnect();
    ASSERT_TRUE(eventually([&] { return device().running() == 0; }));
  }
}

TEST_P(VhostUserInflightTest, AServerThatHasEndedIsFollowedWhereItStood) {
  ASSERT_TRUE(begin(client, client.first_base()));
  for (unsigned round = 0; round < 5; ++round) {
    for (unsigned n = 0; n < 11; ++n) ASSERT_TRUE(client.echo(0)) << round;
    client.disconnect();
    // The base is an old one.
    ASSERT_TRUE(begin(client, client.first_base())) << round;
  }
}

TEST_P(VhostUserInflightTest, ABaseCountsWhereTheFrontEndKnowsTheRing) {
  ASSERT_TRUE(begin(client, client.first_base()));
  for (unsigned n = 0; n < 11; ++n) ASSERT_TRUE(client.echo(0));
  // Paused and resumed.
  const auto base = client.stop_ring(0);
  ASSERT_TRUE(base);
  ASSERT_TRUE(client.track_inflight());
  ASSERT_TRUE(client.start_ring(0, *base));
  ASSERT_TRUE(client.echo(0));
  // A driver that begins anew, with the region that is there.
  ASSERT_TRUE(client.stop_ring(0));
  client.rings[0] =
      std::make_unique<Client::Ring>(client.memory, 0, 16, RingFeatures{.packed = GetParam()});
  ASSERT_TRUE(client.start_ring(0));
  for (unsigned n = 0; n < 20; ++n) ASSERT_TRUE(client.echo(0)) << n;
  // And after a reset of the device.
  ASSERT_TRUE(client.tell(Request::kResetDevice));
  client.rings[0] =
      std::make_unique<Client::Ring>(client.memory, 0, 16, RingFeatures{.packed = GetParam()});
  ASSERT_TRUE(client.tell(Request::kSetFeatures, features()));
  ASSERT_TRUE(client.start_ring(0));
  for (unsigned n = 0; n < 20; ++n) ASSERT_TRUE(client.echo(0)) << n;
}

// What a front end has behind it in the same page is not ours.
TEST_P(VhostUserInflightTest, AResetForgetsTheRegionAndNothingBehindIt) {
  ASSERT_TRUE(begin(client, client.first_base()));
  ASSERT_TRUE(client.echo(0));
  const std::uint64_t whole = client.inflight.region.mmap_size;
  const std::uint64_t own = inflight_queue_bytes(GetParam(), client.inflight.region.queue_size);
  ASSERT_LT(own, whole);
  client.inflight.region.mmap_size = own;
  ASSERT_TRUE(client.track_inflight());
  const std::vector<std::byte> behind(whole - own, std::byte{0x5a});
  ASSERT_EQ(
      ::pwrite(client.inflight.file.get(), behind.data(), behind.size(), static_cast<off_t>(own)),
      static_cast<ssize_t>(behind.size()));
  ASSERT_TRUE(client.tell(Request::kResetDevice));
  EXPECT_EQ(contents_of(client.inflight), std::vector<std::byte>(own));
  client.inflight.region.mmap_size = whole;
  const auto all = contents_of(client.inflight);
  EXPECT_EQ(std::vector<std::byte>(all.begin() + static_cast<std::ptrdiff_t>(own), all.end()),
            behind);
}

TEST_P(VhostUserInflightTest, RingsThatAreNotNotedAreServed) {
  Client both(kRings, 16, {.packed = GetParam()});
  ASSERT_TRUE(greet(both));
  ASSERT_TRUE(both.track_inflight());
  both.inflight.region.num_queues = 1;
  ASSERT_TRUE(both.track_inflight());
  for (unsigned i = 0; i < kRings; ++i) ASSERT_TRUE(both.start_ring(i));
  for (unsigned n = 0; n < 20; ++n) ASSERT_TRUE(both.echo(n % kRings));
}

TEST_P(VhostUserInflightTest, ARegionIsMadeAsItIsAskedFor) {
  ASSERT_TRUE(greet(client));
  const InflightDescription wanted{
      .mmap_size = 0, .mmap_offset = 0, .num_queues = 2, .queue_size = 256, .padding = 0};
  for (const std::size_t size : {kInflightDescriptionBytes, sizeof wanted}) {
    const auto reply =
        client.ask_raw(Request::kGetInflightFd, std::as_bytes(std::span(&wanted, 1)).first(size));
    ASSERT_TRUE(reply);
    ASSERT_EQ(reply->header.size, size) << "as large as the question";
    ASSERT_EQ(reply->fds.size(), 1U);
    InflightDescription made;
    std::memcpy(&made, reply->payload.data(), size);
    EXPECT_EQ(made.num_queues, 2U);
    EXPECT_EQ(made.queue_size, 256U);
    EXPECT_GE(made.mmap_size, 2 * inflight_queue_bytes(true, 256));
    EXPECT_EQ(::fcntl(reply->fds[0].get(), F_GET_SEALS), F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
  }
  for (const auto& [queues, entries] :
       {std::pair<std::uint16_t, std::uint16_t>{0, 16}, {3, 16}, {1, 0}, {1, 32769}}) {
    InflightDescription wrong = wanted;
    wrong.num_queues = queues;
    wrong.queue_size = entries;
    EXPECT_FALSE(client.ask_raw(Request::kGetInflightFd, std::as_bytes(std::span(&wrong, 1))));
    EXPECT_TRUE(client.is_closed());
    ASSERT_TRUE(greet(client));
  }
  // Without the protocol feature.
  ASSERT_TRUE(client.connect(path));
  ASSERT_TRUE(client.negotiate(features(), Client::kAcks));
  EXPECT_FALSE(client.ask_raw(Request::kGetInflightFd, std::as_bytes(std::span(&wanted, 1))));
}

TEST_P(VhostUserInflightTest, RegionsThatMakeNoSenseAreRefused) {
  ASSERT_TRUE(begin(client, client.first_base()));
  const InflightDescription good = client.inflight.region;
  const auto refused = [&](int fd, auto change) {
    InflightDescription region = good;
    change(region);
    return !client.tell(Request::kSetInflightFd, region, std::array{fd});
  };
  const auto as_it_is = [](InflightDescription& /*region*/) {};
  const int fd = client.inflight.file.get();
  EXPECT_TRUE(refused(fd, [](auto& region) { region.mmap_size = 64; })) << "too small";
  EXPECT_TRUE(refused(fd, [](auto& region) { region.mmap_size = 1U << 20; })) << "past its end";
  EXPECT_TRUE(refused(fd, [](auto& region) { region.mmap_offset = 64; })) << "in a page";
  EXPECT_TRUE(refused(fd, [](auto& region) { region.mmap_offset = 4096; })) << "past its end";
  EXPECT_TRUE(refused(fd, [](auto& region) { region.mmap_offset = ~std::uint64_t{4095}; }));
  EXPECT_TRUE(refused(fd, [](auto& region) { region.num_queues = 0; }));
  EXPECT_TRUE(refused(fd, [](auto& region) { region.num_queues = kRings + 1; }));
  EXPECT_TRUE(refused(fd, [](auto& region) { region.queue_size = 0; }));
  EXPECT_TRUE(refused(fd, [](auto& region) { region.queue_size = 40000; }));
  const UniqueFd zero(::open("/dev/zero", O_RDWR | O_CLOEXEC));
  EXPECT_TRUE(refused(zero.get(), as_it_is));
  EXPECT_TRUE(refused(client.rings[0]->kick.get(), as_it_is));
  const std::string name = "/proc/self/fd/" + std::to_string(fd);
  const UniqueFd read_only(::open(name.c_str(), O_RDONLY | O_CLOEXEC));
  EXPECT_TRUE(refused(read_only.get(), as_it_is));
  EXPECT_FALSE(client.tell(Request::kSetInflightFd, good)) << "no descriptor";
  EXPECT_TRUE(client.echo(0)) << "what was there stays";
  // One that is right in its size and wrong in what it says: its ring does not start.
  const auto before = contents_of(client.inflight);
  ASSERT_TRUE(client.stop_ring(0));
  auto damaged = contents_of(client.inflight);
  damaged[offsetof(InflightSplitHead, version)] = std::byte{9};
  set_contents(client.inflight, damaged);
  ASSERT_TRUE(client.track_inflight());
  EXPECT_FALSE(client.set_kick(0));
  EXPECT_TRUE(eventually([&] { return client.rings[0]->err.consume() != 0; }));
  EXPECT_EQ(device().running(), 0U);
  client.disconnect();
  expect_good_service();
}

TEST_P(VhostUserInflightTest, ARegionThatShrinksUnderUsEndsItsConnectionAlone) {
  for (const bool before_start : {true, false}) {
    Client hostile(1, 16, {.packed = GetParam()});
    ASSERT_TRUE(greet(hostile));
    const UniqueFd file(::memfd_create("test", MFD_CLOEXEC));
    ASSERT_EQ(::ftruncate(file.get(), 1 << 20), 0);
    const InflightDescription region{
        .mmap_size = 1 << 20, .mmap_offset = 0, .num_queues = 1, .queue_size = 16, .padding = 0};
    ASSERT_TRUE(hostile.tell(Request::kSetInflightFd, region, std::array{file.get()}));
    if (before_start) {
      ASSERT_EQ(::ftruncate(file.get(), 0), 0);
    }
    (void)hostile.start_ring(0);
    ASSERT_EQ(::ftruncate(file.get(), 0), 0);
    hostile.offer(0, bytes("gone"));
    hostile.rings[0]->kick.signal();
    EXPECT_TRUE(hostile.is_closed());
  }
  expect_good_service();
}

TEST_P(VhostUserInflightTest, ABaseMayComeBeforeTheFeaturesThatGiveItItsMeaning) {
  ASSERT_TRUE(client.connect(path));
  ASSERT_TRUE(client.negotiate(features()));
  ASSERT_TRUE(client.set_memory());
  ASSERT_TRUE(client.start_ring(0));
  for (unsigned n = 0; n < 11; ++n) ASSERT_TRUE(client.echo(0));
  const auto base = client.stop_ring(0);
  ASSERT_TRUE(base);
  EXPECT_EQ(*base > UINT16_MAX || !GetParam(), true);
  for (unsigned last = 0; last < 2; ++last) {
    client.disconnect();
    ASSERT_TRUE(client.connect(path));
    ASSERT_TRUE(client.tell(Request::kSetOwner));
    ASSERT_TRUE(client.set_base(0, *base));
    if (last == 0) {
      ASSERT_TRUE(client.tell(Request::kSetFeatures, features()));
    }
    ASSERT_TRUE(client.set_memory());
    ASSERT_TRUE(client.set_size(0) && client.set_addresses(0) && client.set_kick(0) &&
                client.set_call(0) && client.enable(0));
    // Each message is answered in its turn: a question waits for those before it.
    ASSERT_TRUE(client.ask<std::uint64_t>(Request::kGetStatus));
    EXPECT_EQ(device().running(), 1 - last) << "no ring runs before features are agreed on";
    if (last == 1) {
      ASSERT_TRUE(client.tell(Request::kSetFeatures, features()));
    } else {
      EXPECT_EQ(client.stop_ring(0), *base);
      ASSERT_TRUE(client.set_kick(0));
    }
    ASSERT_TRUE(client.ask<std::uint64_t>(Request::kGetStatus));
    EXPECT_EQ(device().running(), 1U);
  }
  for (unsigned n = 0; n < 20; ++n) ASSERT_TRUE(client.echo(0)) << n;
  client.disconnect();
  // A place that no ring of this layout has is refused when that is known.
  ASSERT_TRUE(client.connect(path));
  ASSERT_TRUE(client.tell(Request::kSetProtocolFeatures, Client::kAcks));
  ASSERT_TRUE(client.set_base(0, 70'000) && client.set_memory() && client.set_size(0) &&
              client.set_addresses(0) && client.set_kick(0) && client.enable(0));
  const std::uint64_t told = features();
  EXPECT_FALSE(client.tell(Request::kSetFeatures, std::as_bytes(std::span(&told, 1))));
  EXPECT_EQ(device().running(), 0U);
}

}  // namespace
}  // namespace bellhop
