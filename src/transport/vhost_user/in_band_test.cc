// Front ends that kick and are called by messages (INBAND_NOTIFICATIONS).
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>

#include <memory>
#include <optional>

#include "testing/echo_device.h"
#include "testing/vhost_user_server_fixture.h"

namespace bellhop {
namespace {

using namespace vhost_user;
using testing::EchoDevice;
using testing::eventually;
using testing::must;
using Client = testing::VhostUserClient;

class InBandTest : public ::testing::TestWithParam<bool>, public testing::VhostUserService {
 protected:
  static constexpr unsigned kRings = 2;
  static constexpr std::uint64_t kFeatures = Client::kVersion1 | Client::kProtocolBit;
  static constexpr std::uint64_t kBackendReq = std::uint64_t{1} << kProtocolBackendReq;
  static constexpr std::uint64_t kInBand = std::uint64_t{1} << kProtocolInbandNotifications;
  static constexpr std::uint64_t kAllInBand = Client::kAcks | kBackendReq | kInBand;

  InBandTest()
      : VhostUserService(std::make_unique<EchoDevice>(kRings), GetParam(), NotifyMode::kIoEventFd,
                         {.in_band = true}) {}

  /// Up to where rings are told.
  void connect(Client& client) {
    must(client.connect(path));
    ASSERT_TRUE(client.negotiate(kFeatures, kAllInBand));
    ASSERT_TRUE(client.set_memory());
    heard_ = client.hear();
    ASSERT_TRUE(heard_);
  }
  /// A ring without descriptors. It starts with its first kick.
  static bool tell_ring(Client& client, unsigned ring) {
    return client.set_size(ring) && client.set_base(ring, 0) && client.set_addresses(ring) &&
           client.enable(ring);
  }
  static bool kick(Client& client, unsigned ring) {
    return client.tell(Request::kVringKick, VringState{.index = ring, .num = 0});
  }
  /// The ring that the next message of the back end is about, which is `request`.
  std::optional<unsigned> hear(std::uint32_t request) {
    const auto message = heard_->receive();
    VringState ring;
    if (!message || message->header.request != request || !message->read(ring)) return std::nullopt;
    EXPECT_EQ(message->header.flags, kVersion) << "nobody waits for an answer";
    EXPECT_EQ(ring.num, 0U);
    return ring.index;
  }
  /// A ring that starts may call more than once.
  bool called(unsigned ring) {
    for (unsigned others = 0; others < kRings * 2; ++others) {
      const auto heard = hear(kBackendVringCall);
      if (!heard || *heard == ring) return heard.has_value();
    }
    return false;
  }
  [[nodiscard]] bool something_said() const {
    pollfd said{.fd = heard_->fd(), .events = POLLIN, .revents = 0};
    return ::poll(&said, 1, 0) == 1;
  }

  std::optional<Channel> heard_;
};
INSTANTIATE_TEST_SUITE_P(Loops, InBandTest, ::testing::Bool(),
                         [](const auto& loop) { return loop.param ? "epoll" : "io_uring"; });

TEST_P(InBandTest, KicksAndCallsWithoutADescriptor) {
  Client client(kRings);
  connect(client);
  for (unsigned ring = 0; ring < kRings; ++ring) ASSERT_TRUE(tell_ring(client, ring));
  EXPECT_EQ(device().running(), 0U) << "a ring starts with its first kick";
  for (unsigned i = 0; i < 6; ++i) {
    const unsigned ring = i % kRings;
    client.offer(ring, bytes("hello"));
    ASSERT_TRUE(kick(client, ring));
    EXPECT_TRUE(called(ring));
    EXPECT_EQ(client.reap(ring), 5U);
  }
  EXPECT_EQ(device().running(), kRings);
}

TEST_P(InBandTest, AKickBeforeTheRestIsNotLost) {
  Client client(kRings);
  connect(client);
  client.offer(1, bytes("hello"));
  ASSERT_TRUE(kick(client, 1));
  EXPECT_EQ(device().running(), 0U);
  ASSERT_TRUE(tell_ring(client, 1));
  EXPECT_EQ(hear(kBackendVringCall), 1U);
  EXPECT_EQ(client.reap(1), 5U);
}

TEST_P(InBandTest, ARingThatWasStoppedStartsWithItsNextKick) {
  Client client(kRings);
  connect(client);
  ASSERT_TRUE(tell_ring(client, 0));
  client.offer(0, bytes("one"));
  ASSERT_TRUE(kick(client, 0));
  EXPECT_EQ(client.reap(0), 3U);
  EXPECT_EQ(client.stop_ring(0), 1U);
  client.offer(0, bytes("three"));
  ASSERT_TRUE(client.set_base(0, 1));
  EXPECT_EQ(device().running(), 0U);
  ASSERT_TRUE(kick(client, 0));
  EXPECT_EQ(client.reap(0), 5U);
}

TEST_P(InBandTest, DescriptorsAreTakenBeforeMessages) {
  Client client(kRings);
  connect(client);
  ASSERT_TRUE(client.start_ring(0));
  ASSERT_TRUE(client.echo(0));
  EXPECT_TRUE(eventually([&] { return client.rings[0]->call.consume() != 0; }));
  client.offer(0, bytes("hello"));
  ASSERT_TRUE(kick(client, 0)) << "it may come all the same";
  EXPECT_EQ(client.reap(0), 5U);
  EXPECT_TRUE(eventually([&] { return client.rings[0]->call.consume() != 0; }));
  EXPECT_FALSE(something_said());

  // Without a descriptor from now on.
  ASSERT_TRUE(client.tell(Request::kSetVringCall, kVringNoFd));
  EXPECT_EQ(hear(kBackendVringCall), 0U) << "what may have been told to nobody who listens";
  ASSERT_TRUE(client.tell(Request::kSetVringKick, kVringNoFd));
  client.offer(0, bytes("hello"));
  ASSERT_TRUE(kick(client, 0));
  EXPECT_EQ(client.reap(0), 5U);
  EXPECT_EQ(hear(kBackendVringCall), 0U);
}

TEST_P(InBandTest, CallsWaitForTheChannel) {
  Client client(kRings);
  must(client.connect(path));
  ASSERT_TRUE(client.negotiate(kFeatures, kAllInBand));
  ASSERT_TRUE(client.set_memory());
  ASSERT_TRUE(tell_ring(client, 1));
  client.offer(1, bytes("hello"));
  ASSERT_TRUE(kick(client, 1));
  EXPECT_EQ(client.reap(1), 5U);
  heard_ = client.hear();
  ASSERT_TRUE(heard_);
  EXPECT_EQ(hear(kBackendVringCall), 1U);
}

TEST_P(InBandTest, AnErrorIsAMessageToo) {
  Client client(kRings);
  connect(client);
  ASSERT_TRUE(client.set_size(1));
  ASSERT_TRUE(client.set_base(1, 0));
  VringAddresses nowhere = client.addresses(1);
  nowhere.used = 0x1000;
  ASSERT_TRUE(client.tell(Request::kSetVringAddr, nowhere));
  ASSERT_TRUE(client.enable(1));
  EXPECT_FALSE(kick(client, 1));
  EXPECT_EQ(hear(kBackendVringErr), 1U);
}

TEST_P(InBandTest, AFrontEndThatReadsNoCallsLosesThem) {
  Client client(kRings);
  connect(client);
  ASSERT_TRUE(tell_ring(client, 0));
  // One call each time: as many as the socket takes, and more.
  for (unsigned i = 0; i < 2000; ++i) {
    if (!kick(client, 0)) break;
    ASSERT_TRUE(client.tell(Request::kSetVringCall, kVringNoFd)) << i;
  }
  EXPECT_TRUE(client.ask<std::uint64_t>(Request::kGetFeatures)) << "it is served all the same";
  client.offer(0, bytes("hello"));
  ASSERT_TRUE(kick(client, 0));
  EXPECT_EQ(client.reap(0), 5U);
}

TEST_P(InBandTest, OfNoUseWithoutTheOtherFeatures) {
  for (const std::uint64_t lacking : {Client::kAcks, kBackendReq}) {
    Client client(kRings);
    must(client.connect(path));
    (void)client.negotiate(kFeatures, kAllInBand & ~lacking);
    EXPECT_TRUE(client.is_closed()) << lacking;
  }
  EXPECT_EQ(device().refused(), 2U);
}

TEST_P(InBandTest, RefusesKicksThatWereNotAgreedOn) {
  Client client(kRings);
  start(client);
  EXPECT_FALSE(kick(client, 0));
  EXPECT_FALSE(client.tell(Request::kSetVringKick, kVringNoFd));
  EXPECT_EQ(device().refused(), 2U);
}

TEST_P(InBandTest, RefusesKicksThatMeanNothing) {
  Client client(kRings);
  connect(client);
  EXPECT_FALSE(kick(client, kRings));
  EXPECT_FALSE(client.tell(Request::kVringKick, VringState{.index = 0, .num = 1}));
  EXPECT_FALSE(client.tell(Request::kVringKick, std::uint32_t{0}));
  EXPECT_EQ(device().refused(), 3U);
}

TEST_P(InBandTest, OfferedOnlyWhereItIsAskedFor) {
  const testing::VhostUserServerFixture served(GetParam());
  Client client(kRings);
  must(client.connect(served.path));
  const auto offered = client.ask<std::uint64_t>(Request::kGetProtocolFeatures);
  ASSERT_TRUE(offered);
  EXPECT_EQ(*offered & kInBand, 0U);
}

}  // namespace
}  // namespace bellhop
