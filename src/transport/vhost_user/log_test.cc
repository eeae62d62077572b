// What is written to a guest's memory while it moves to another host: the messages, and what a
// front end can do to the log. What each device writes: WrittenPagesTest.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <array>
#include <string>
#include <vector>

#include "testing/page_log.h"
#include "testing/vhost_user_server_fixture.h"

namespace bellhop {
namespace {

using namespace vhost_user;
using testing::eventually;
using testing::PageLog;
using testing::Pages;
using testing::pages_of;
using Client = testing::VhostUserClient;

constexpr std::uint64_t kPackedLogBit = virtio::feature_mask(virtio::kFeatureRingPacked);

class VhostUserLogTest : public ::testing::TestWithParam<bool>,
                         public testing::VhostUserServerFixture {
 protected:
  [[nodiscard]] static std::uint64_t features(std::uint64_t more = 0) {
    return Client::kVersion1 | Client::kProtocolBit | (GetParam() ? kPackedLogBit : 0) | more;
  }
  bool greet(Client& one) const {
    return one.connect(path) && one.negotiate(features(), Client::kLogging) && one.set_memory();
  }
  /// A front end whose guest moves already.
  bool begin(Client& one, const PageLog& pages) const {
    return greet(one) && one.set_log(pages) && log_all(one) && one.start_ring(0);
  }
  static bool log_all(Client& one, bool on = true) {
    return one.tell(Request::kSetFeatures, features(on ? Client::kLogBit : 0));
  }
  /// What echo() has written to, but for the ring.
  [[nodiscard]] static Pages answer() {
    return pages_of(GuestAddress(Client::kBuffers + 0x1000), 5);
  }
  [[nodiscard]] Pages ring_pages() const {
    const QueueConfig ring = client.rings[0]->driver.config();
    Pages pages = pages_of(ring.device, 4);
    pages.merge(pages_of(GetParam() ? ring.desc : ring.device, 128));
    return pages;
  }
  static Pages both(Pages some, const Pages& others) {
    some.insert(others.begin(), others.end());
    return some;
  }
  void expect_good_service() const {
    Client good(1, 16, {.packed = GetParam()});
    PageLog pages(good.memory);
    ASSERT_TRUE(begin(good, pages));
    EXPECT_TRUE(good.echo(0));
  }

  Client client{1, 16, {.packed = GetParam()}};
  PageLog log{client.memory};
};
INSTANTIATE_TEST_SUITE_P(Rings, VhostUserLogTest, ::testing::Bool(),
                         [](const auto& ring) { return ring.param ? "packed" : "split"; });

TEST_P(VhostUserLogTest, BeginsAndEndsAsFeaturesSay) {
  // QEMU's order: the guest runs, the log comes, features, then each ring.
  ASSERT_TRUE(greet(client));
  ASSERT_TRUE(client.start_ring(0));
  ASSERT_TRUE(client.echo(0));
  ASSERT_TRUE(client.set_log(log));
  ASSERT_TRUE(client.echo(0));
  EXPECT_EQ(log.take(), Pages()) << "a log alone says nothing";
  ASSERT_TRUE(log_all(client));
  ASSERT_TRUE(client.set_addresses(0));
  (void)log.take();
  for (unsigned n = 0; n < 20; ++n) {
    ASSERT_TRUE(client.echo(0)) << n;
    // Before the request can be seen as done.
    EXPECT_EQ(testing::missing(answer(), log.take()), Pages()) << n;
  }
  ASSERT_TRUE(client.stop_ring(0));
  ASSERT_TRUE(client.set_kick(0));
  ASSERT_TRUE(client.echo(0));
  ASSERT_TRUE(client.stop_ring(0));
  EXPECT_EQ(log.take(), both(ring_pages(), answer()));
  ASSERT_TRUE(client.set_kick(0));
  ASSERT_TRUE(log_all(client, false));
  client.logs_rings = false;
  ASSERT_TRUE(client.set_addresses(0));
  (void)log.take();
  for (unsigned n = 0; n < 20; ++n) ASSERT_TRUE(client.echo(0)) << n;
  ASSERT_TRUE(client.stop_ring(0));
  EXPECT_EQ(log.take(), Pages());
  EXPECT_EQ(echo->resets, 0U) << "the device knows nothing of it";
  EXPECT_EQ(device().refused(), 0U);
}

TEST_P(VhostUserLogTest, UsedRingsAreNotedWhereTheFrontEndSays) {
  // Past all memory, as the specification allows.
  const GuestAddress elsewhere(client.memory.regions().back().base.value() + (64U << 20) + 0xff8);
  PageLog larger((elsewhere.value() / DirtyLog::kPage + 16) / 8);
  ASSERT_TRUE(begin(client, larger));
  VringAddresses at = client.addresses(0);
  at.log = elsewhere.value();
  ASSERT_TRUE(client.tell(Request::kSetVringAddr, at));
  ASSERT_TRUE(client.stop_ring(0));
  ASSERT_TRUE(client.set_kick(0));
  (void)larger.take();
  for (unsigned n = 0; n < 8; ++n) ASSERT_TRUE(client.echo(0));
  ASSERT_TRUE(client.stop_ring(0));
  Pages expected = both(answer(), pages_of(elsewhere, GetParam() ? 4 : 64));
  // A packed ring's descriptors are memory like any other.
  if (GetParam()) expected.merge(pages_of(client.rings[0]->driver.config().desc, 256));
  EXPECT_EQ(larger.take(), expected);
  // One that has no room for it.
  at.log = (larger.bytes() * 8 - 1) * DirtyLog::kPage + 0xffe;
  EXPECT_TRUE(client.tell(Request::kSetVringAddr, at)) << "the ring rests";
  EXPECT_FALSE(client.set_kick(0));
  at.log = ~std::uint64_t{3};
  EXPECT_FALSE(client.tell(Request::kSetVringAddr, at));
  EXPECT_EQ(device().running(), 0U);
  ASSERT_TRUE(client.set_addresses(0));
  EXPECT_TRUE(client.echo(0));
}

TEST_P(VhostUserLogTest, NoRingRunsWithoutTheLogThatIsAskedFor) {
  // QEMU's order where a driver starts its device during a migration.
  ASSERT_TRUE(client.connect(path));
  ASSERT_TRUE(client.negotiate(features(Client::kLogBit), Client::kLogging));
  ASSERT_TRUE(client.set_memory());
  client.logs_rings = true;
  ASSERT_TRUE(client.start_ring(0));
  EXPECT_EQ(device().running(), 0U);
  client.offer(0, bytes("early"));
  client.rings[0]->kick.signal();
  ASSERT_TRUE(client.set_log(log));
  EXPECT_EQ(device().running(), 1U);
  EXPECT_EQ(client.reap(0), 5U) << "its kick was not lost";
  EXPECT_EQ(testing::missing(answer(), log.take()), Pages());
}

TEST_P(VhostUserLogTest, WhatIsInFlightIsNotedInOneOrTheOther) {
  PageLog second(client.memory);
  ASSERT_TRUE(greet(client));
  ASSERT_TRUE(client.set_log(log));
  ASSERT_TRUE(client.start_ring(0));
  const auto hold_one = [&] {
    echo->hold = true;
    client.offer(0, bytes("later"));
    client.rings[0]->kick.signal();
    return eventually([&] { return echo->held == 1; });
  };
  // Each message waits for it.
  const auto finish = [&](Request request) {
    echo->release();
    const auto reply = client.channel().receive();
    return reply && reply->request() == request && client.reap(0) == 5U;
  };
  ASSERT_TRUE(hold_one());
  const std::uint64_t told = features(Client::kLogBit);
  ASSERT_TRUE(
      client.channel().send(Request::kSetFeatures, kNeedReply, std::as_bytes(std::span(&told, 1))));
  ASSERT_TRUE(finish(Request::kSetFeatures)) << "before it is answered, as nothing is noted of it";
  ASSERT_TRUE(client.echo(0));
  (void)log.take();
  ASSERT_TRUE(hold_one());
  const LogDescription next{.mmap_size = second.bytes(), .mmap_offset = 0};
  ASSERT_TRUE(client.channel().send(Request::kSetLogBase, 0, std::as_bytes(std::span(&next, 1)),
                                    std::array{second.fd()}));
  ASSERT_TRUE(finish(Request::kSetLogBase));
  EXPECT_EQ(testing::missing(answer(), log.take()), Pages()) << "in the one before";
  (void)second.take();
  ASSERT_TRUE(client.echo(0));
  EXPECT_EQ(log.take(), Pages()) << "which is left alone from then on";
  EXPECT_EQ(testing::missing(answer(), second.take()), Pages());
}

TEST_P(VhostUserLogTest, AnEventTellsOfChanges) {
  ASSERT_TRUE(begin(client, log));
  EventFd changed = testing::must(EventFd::create());
  ASSERT_TRUE(client.tell(Request::kSetLogFd, {}, std::array{changed.get()}, kNeedReply));
  ASSERT_TRUE(client.echo(0));
  EXPECT_TRUE(eventually([&] { return changed.consume() != 0; }));
  const UniqueFd no_event(::memfd_create("test", MFD_CLOEXEC));
  EXPECT_FALSE(client.tell(Request::kSetLogFd, {}, std::array{no_event.get()}, kNeedReply));
  EXPECT_FALSE(client.tell(Request::kSetLogFd, {}, {}, kNeedReply)) << "no descriptor";
  EXPECT_TRUE(client.echo(0));
}

TEST_P(VhostUserLogTest, LogsThatWillNotDoAreRefused) {
  ASSERT_TRUE(begin(client, log));
  const LogDescription good{.mmap_size = log.bytes(), .mmap_offset = 0};
  const auto refused = [&](int fd, auto change) {
    LogDescription told = good;
    change(told);
    return !client.tell(Request::kSetLogBase, std::as_bytes(std::span(&told, 1)), std::array{fd},
                        kNeedReply);
  };
  const auto as_it_is = [](LogDescription& /*told*/) {};
  EXPECT_TRUE(refused(log.fd(), [](auto& told) { told.mmap_size = 0; }));
  EXPECT_TRUE(refused(log.fd(), [](auto& told) { --told.mmap_size; })) << "a page has no bit";
  EXPECT_TRUE(refused(log.fd(), [](auto& told) { ++told.mmap_size; })) << "past its end";
  EXPECT_TRUE(refused(log.fd(), [](auto& told) { told.mmap_size = ~std::uint64_t{0}; }));
  EXPECT_TRUE(refused(log.fd(), [](auto& told) { told.mmap_offset = 8; })) << "in a page";
  EXPECT_TRUE(refused(log.fd(), [](auto& told) { told.mmap_offset = 4096; })) << "past its end";
  EXPECT_TRUE(refused(log.fd(), [](auto& told) { told.mmap_offset = ~std::uint64_t{4095}; }));
  const UniqueFd zero(::open("/dev/zero", O_RDWR | O_CLOEXEC));
  EXPECT_TRUE(refused(zero.get(), as_it_is));
  EXPECT_TRUE(refused(client.rings[0]->kick.get(), as_it_is));
  const std::string name = "/proc/self/fd/" + std::to_string(log.fd());
  const UniqueFd read_only(::open(name.c_str(), O_RDONLY | O_CLOEXEC));
  EXPECT_TRUE(refused(read_only.get(), as_it_is));
  EXPECT_FALSE(
      client.tell(Request::kSetLogBase, std::as_bytes(std::span(&good, 1)), {}, kNeedReply))
      << "no descriptor";
  (void)log.take();
  EXPECT_TRUE(client.echo(0)) << "what was there stays";
  EXPECT_EQ(testing::missing(answer(), log.take()), Pages());
  // One whose refusal could not be told from the answer: its front end would believe that it has a
  // log.
  const LogDescription small{.mmap_size = 8, .mmap_offset = 0};
  ASSERT_TRUE(client.channel().send(Request::kSetLogBase, 0, std::as_bytes(std::span(&small, 1)),
                                    std::array{log.fd()}));
  EXPECT_TRUE(client.is_closed());
  // Without the protocol feature.
  ASSERT_TRUE(client.connect(path));
  ASSERT_TRUE(client.negotiate(features()));
  EXPECT_FALSE(log_all(client));
  EXPECT_FALSE(client.set_log(log));
}

TEST_P(VhostUserLogTest, MemoryThatTheLogDoesNotCoverIsNotServed) {
  // What comes later is at 8 GiB; QEMU makes the log larger before.
  ASSERT_TRUE(begin(client, log));
  const UniqueFd more(::memfd_create("test", MFD_CLOEXEC));
  ASSERT_EQ(::ftruncate(more.get(), 1 << 20), 0);
  const SingleRegion added{.padding = 0,
                           .region = {.guest_address = std::uint64_t{8} << 30,
                                      .size = 1 << 20,
                                      .user_address = std::uint64_t{1} << 46,
                                      .mmap_offset = 0}};
  ASSERT_TRUE(client.tell(Request::kAddMemReg, added, std::array{more.get()}));
  EXPECT_EQ(device().running(), 0U);
  EXPECT_TRUE(eventually([&] { return client.rings[0]->err.consume() != 0; }));
  PageLog larger(std::uint64_t{9} << 30 >> 15);
  ASSERT_TRUE(client.set_log(larger));
  EXPECT_EQ(device().running(), 1U);
  EXPECT_TRUE(client.echo(0));
  EXPECT_EQ(testing::missing(answer(), larger.take()), Pages());
}

TEST_P(VhostUserLogTest, ALogThatShrinksUnderUsEndsItsConnectionAlone) {
  for (const bool before_start : {true, false}) {
    Client hostile(1, 16, {.packed = GetParam()});
    PageLog cut(hostile.memory);
    ASSERT_TRUE(greet(hostile));
    ASSERT_TRUE(hostile.set_log(cut));
    ASSERT_TRUE(log_all(hostile));
    if (before_start) {
      ASSERT_EQ(::ftruncate(cut.fd(), 0), 0);
    }
    (void)hostile.start_ring(0);
    ASSERT_EQ(::ftruncate(cut.fd(), 0), 0);
    hostile.offer(0, bytes("gone"));
    hostile.rings[0]->kick.signal();
    EXPECT_TRUE(hostile.is_closed());
  }
  expect_good_service();
}

}  // namespace
}  // namespace bellhop
