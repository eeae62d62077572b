// What front ends do: the orders in which they say things, and what has broken other back ends.
#include "transport/vhost_user/vhost_user_device.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "testing/vhost_user_server_fixture.h"
#include "vhost_user/message_names.h"

namespace bellhop {
namespace {

using namespace vhost_user;
using testing::eventually;
using testing::VhostUserClient;
using testing::VhostUserServerFixture;
using Client = VhostUserClient;

constexpr std::uint64_t kPacked = virtio::feature_mask(virtio::kFeatureRingPacked);

class VhostUserDeviceTest : public ::testing::TestWithParam<bool>, public VhostUserServerFixture {
 protected:
  VhostUserDeviceTest() : VhostUserServerFixture(GetParam()) {}
};
INSTANTIATE_TEST_SUITE_P(Loops, VhostUserDeviceTest, ::testing::Bool(),
                         [](const auto& loop) { return loop.param ? "epoll" : "io_uring"; });

TEST_P(VhostUserDeviceTest, ServesRingsInQemusOrder) {
  Client client(kRings);
  ASSERT_TRUE(client.connect(path));
  ASSERT_TRUE(client.negotiate());
  EXPECT_EQ(client.ask<std::uint64_t>(Request::kGetQueueNum), kRings);
  ASSERT_TRUE(client.set_memory());
  for (unsigned i = 0; i < kRings; ++i) ASSERT_TRUE(client.start_ring(i));
  EXPECT_EQ(device().running(), kRings);
  // Past the rings' end and around.
  for (unsigned n = 0; n < 40; ++n) ASSERT_TRUE(client.echo(n % kRings)) << n;
  EXPECT_EQ(echo->features_seen, Client::kVersion1);
  EXPECT_EQ(device().refused(), 0U);
}

TEST_P(VhostUserDeviceTest, OffersWhatItServes) {
  Client client;
  ASSERT_TRUE(client.connect(path));
  const auto features = client.ask<std::uint64_t>(Request::kGetFeatures);
  EXPECT_EQ(features, virtio::kRingFeatures | testing::EchoDevice::kFeature | Client::kProtocolBit |
                          Client::kLogBit | kMoreFeatures);
  const auto protocol = client.ask<std::uint64_t>(Request::kGetProtocolFeatures);
  EXPECT_EQ(protocol, 0b1001'1011'0010'0010'1011U)
      << "MQ, LOG_SHMFD, REPLY_ACK, BACKEND_REQ, CONFIG, INFLIGHT_SHMFD, RESET_DEVICE, "
         "CONFIGURE_MEM_SLOTS, STATUS, DEVICE_STATE";
  EXPECT_EQ(client.ask<std::uint64_t>(Request::kGetMaxMemSlots), PeerMemory::kMaxRegions);
}

TEST_P(VhostUserDeviceTest, APackedRingGoesOnWhereItsBaseSays) {
  Client client(kRings, 16, {.packed = true});
  ASSERT_TRUE(client.connect(path));
  ASSERT_TRUE(client.negotiate(Client::kVersion1 | Client::kProtocolBit | kPacked));
  ASSERT_TRUE(client.set_memory());
  for (unsigned i = 0; i < kRings; ++i) ASSERT_TRUE(client.start_ring(i));
  // A chain of two descriptors each: past the ring's end, where the wrap counters change.
  for (unsigned n = 0; n < 11; ++n) ASSERT_TRUE(client.echo(0)) << n;
  const auto base = client.stop_ring(0);
  EXPECT_EQ(base, packed_base(
                      {.next_avail = 6, .next_used = 6, .avail_wrap = false, .used_wrap = false}));
  EXPECT_TRUE(client.echo(1)) << "the other one goes on";
  client.disconnect();
  ASSERT_TRUE(client.connect(path));
  ASSERT_TRUE(client.negotiate(Client::kVersion1 | Client::kProtocolBit | kPacked));
  ASSERT_TRUE(client.set_memory());
  ASSERT_TRUE(client.start_ring(0, *base));
  for (unsigned n = 0; n < 20; ++n) ASSERT_TRUE(client.echo(0)) << n;
  EXPECT_EQ(device().refused(), 0U);
}

// VIRTIO_F_RING_RESET is the front end's to carry out: it stops the ring, and sets it up anew.
TEST_P(VhostUserDeviceTest, AQueueIsResetWhileTheOtherGoesOn) {
  Client client(kRings);
  ASSERT_TRUE(client.connect(path));
  ASSERT_TRUE(client.negotiate(
      Client::kVersion1 | Client::kProtocolBit | virtio::feature_mask(virtio::kFeatureRingReset),
      Client::kTracking));
  ASSERT_TRUE(client.set_memory() && client.track_inflight());
  for (unsigned i = 0; i < kRings; ++i) ASSERT_TRUE(client.start_ring(i));
  for (const std::uint16_t size : {std::uint16_t{8}, std::uint16_t{4}, std::uint16_t{16}}) {
    for (unsigned n = 0; n < 21; ++n) ASSERT_TRUE(client.echo(0)) << n;
    EXPECT_EQ(client.stop_ring(0), 21U);
    ASSERT_TRUE(client.echo(1)) << "the other one goes on";
    client.rings[0] = std::make_unique<Client::Ring>(client.memory, 0, size, RingFeatures{});
    ASSERT_TRUE(client.start_ring(0));
  }
  EXPECT_TRUE(client.echo(0));
  EXPECT_TRUE(client.echo(1));
  EXPECT_EQ(echo->activations, 1U);
  EXPECT_EQ(device().refused(), 0U);
}

TEST_P(VhostUserDeviceTest, BuffersAreUsedInOrder) {
  for (const bool packed : {false, true}) {
    const RingFeatures features{.packed = packed, .in_order = true};
    Client client(kRings, 16, features);
    ASSERT_TRUE(client.connect(path));
    ASSERT_TRUE(client.negotiate(Client::kVersion1 | Client::kProtocolBit | (packed ? kPacked : 0) |
                                     virtio::feature_mask(virtio::kFeatureInOrder),
                                 packed ? Client::kTracking : Client::kAcks));
    ASSERT_TRUE(client.set_memory());
    if (packed) {
      ASSERT_TRUE(client.track_inflight());
    }
    for (unsigned i = 0; i < kRings; ++i) ASSERT_TRUE(client.start_ring(i));
    for (unsigned n = 0; n < 40; ++n) ASSERT_TRUE(client.echo(n % kRings)) << n;
  }
  EXPECT_EQ(device().refused(), 0U);
}

TEST_P(VhostUserDeviceTest, WithoutProtocolFeaturesRingsStartEnabled) {
  Client client(kRings);
  ASSERT_TRUE(client.connect(path));
  ASSERT_TRUE(client.negotiate(Client::kVersion1));
  ASSERT_TRUE(client.set_memory());
  ASSERT_TRUE(client.set_size(1) && client.set_base(1, 0) && client.set_addresses(1));
  ASSERT_TRUE(client.set_call(1) && client.set_kick(1));
  EXPECT_TRUE(client.echo(1));
}

TEST_P(VhostUserDeviceTest, AKickBeforeTheRingIsEnabledIsNotLost) {
  Client client;
  ASSERT_TRUE(client.connect(path));
  ASSERT_TRUE(client.negotiate());
  ASSERT_TRUE(client.set_memory());
  ASSERT_TRUE(client.set_size(0) && client.set_base(0, 0) && client.set_addresses(0));
  ASSERT_TRUE(client.set_kick(0) && client.set_call(0));
  client.offer(0, bytes("early"));
  client.rings[0]->kick.signal();
  EXPECT_FALSE(client.rings[0]->driver.reap());
  EXPECT_EQ(device().running(), 0U);
  ASSERT_TRUE(client.enable(0));
  EXPECT_EQ(client.reap(0), 5U);
  EXPECT_TRUE(eventually([&] { return client.rings[0]->call.consume() != 0; }));
}

TEST_P(VhostUserDeviceTest, ACallThatComesAfterTheKickIsRaisedForWhatIsDone) {
  Client client;
  ASSERT_TRUE(client.connect(path));
  ASSERT_TRUE(client.negotiate());
  ASSERT_TRUE(client.set_memory());
  ASSERT_TRUE(client.set_size(0) && client.set_base(0, 0) && client.set_addresses(0));
  ASSERT_TRUE(client.enable(0) && client.set_kick(0));
  client.offer(0, bytes("quiet"));
  EXPECT_EQ(client.kick_and_reap(0), 5U);
  ASSERT_TRUE(client.set_call(0));
  EXPECT_TRUE(eventually([&] { return client.rings[0]->call.consume() != 0; }));
}

TEST_P(VhostUserDeviceTest, GetVringBaseStopsOneRingAndResetsNothing) {
  Client client(kRings);
  start(client);
  for (unsigned n = 0; n < 3; ++n) ASSERT_TRUE(client.echo(0));
  ASSERT_TRUE(client.echo(1));
  EXPECT_EQ(client.stop_ring(0), 3U);
  EXPECT_EQ(device().running(), kRings - 1);
  EXPECT_EQ(echo->resets, 0U);
  EXPECT_TRUE(client.echo(1)) << "the other one goes on";
  client.offer(0, bytes("later"));
  client.rings[0]->kick.signal();
  // It goes on where it stood, with what was offered meanwhile.
  ASSERT_TRUE(client.start_ring(0, 3));
  EXPECT_EQ(client.reap(0), 5U);
  EXPECT_EQ(echo->activations, 1U);
}

TEST_P(VhostUserDeviceTest, GetVringBaseWaitsForWhatIsInFlight) {
  Client client;
  echo->hold = true;
  start(client);
  client.offer(0, bytes("slow"));
  client.rings[0]->kick.signal();
  ASSERT_TRUE(eventually([&] { return echo->held == 1; }));
  std::optional<std::uint32_t> base;
  std::thread asks([&] { base = client.stop_ring(0); });
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_EQ(device().running(), 1U);
  echo->release();
  asks.join();
  EXPECT_EQ(base, 1U);
  EXPECT_EQ(client.rings[0]->driver.used_idx(), 1U) << "done and told before the answer";
}

TEST_P(VhostUserDeviceTest, TheUsedIndexIsTakenFromTheRing) {
  Client client;
  start(client);
  for (unsigned n = 0; n < 5; ++n) ASSERT_TRUE(client.echo(0));
  client.disconnect();
  // A new connection knows nothing of the ring but what is in it and what the front end says.
  ASSERT_TRUE(client.connect(path));
  ASSERT_TRUE(client.negotiate());
  ASSERT_TRUE(client.set_memory());
  ASSERT_TRUE(client.start_ring(0, 5));
  ASSERT_TRUE(client.echo(0));
  EXPECT_EQ(client.rings[0]->driver.used_idx(), 6U);
}

TEST_P(VhostUserDeviceTest, TheSizeIsBelieved) {
  Client client(1, 4);  // of 64 at most
  start(client);
  for (unsigned n = 0; n < 9; ++n) ASSERT_TRUE(client.echo(0)) << n;
  const std::array<std::uint32_t, 3> wrong{0, 65, 1U << 16};
  for (const std::uint32_t num : wrong) {
    EXPECT_FALSE(client.tell(Request::kSetVringNum, VringState{.index = 0, .num = num})) << num;
  }
  EXPECT_TRUE(client.echo(0)) << "goes on as it was";
  EXPECT_FALSE(client.tell(Request::kSetVringNum, VringState{.index = 0, .num = 6}));
  EXPECT_EQ(device().running(), 0U) << "no ring has six entries";
  EXPECT_TRUE(eventually([&] { return client.rings[0]->err.consume() != 0; }));
}

TEST_P(VhostUserDeviceTest, ResetOwnerStopsTheRingsAndLosesNothing) {
  Client client(kRings);
  start(client);
  ASSERT_TRUE(client.echo(0) && client.echo(1));
  ASSERT_TRUE(client.tell(Request::kResetOwner));
  EXPECT_EQ(device().running(), 0U);
  ASSERT_TRUE(client.start_ring(0, 1) && client.start_ring(1, 1));
  EXPECT_TRUE(client.echo(0) && client.echo(1));
}

TEST_P(VhostUserDeviceTest, ResetDeviceBeginsAnew) {
  Client client(kRings);
  start(client);
  ASSERT_TRUE(client.echo(0));
  ASSERT_TRUE(client.tell(Request::kResetDevice));
  EXPECT_EQ(device().running(), 0U);
  EXPECT_EQ(echo->resets, 1U);
  // Memory and connection are as they were; rings are not.
  client.rings[0] = std::make_unique<Client::Ring>(client.memory, 0, 16, RingFeatures{});
  ASSERT_TRUE(client.tell(Request::kSetFeatures, Client::kVersion1 | Client::kProtocolBit));
  ASSERT_TRUE(client.start_ring(0));
  EXPECT_TRUE(client.echo(0));
}

TEST_P(VhostUserDeviceTest, MessagesAndRingsComeInAnyOrder) {
  using Step = bool (*)(Client&, unsigned);
  std::vector<Step> steps{
      [](Client& client, unsigned ring) { return client.set_size(ring); },
      [](Client& client, unsigned ring) { return client.set_addresses(ring); },
      [](Client& client, unsigned ring) { return client.set_call(ring); },
      [](Client& client, unsigned ring) { return client.set_kick(ring); },
      [](Client& client, unsigned ring) { return client.enable(ring); },
      [](Client& client, unsigned) { return client.set_memory(); },
  };
  std::vector<unsigned> order(steps.size());
  for (unsigned i = 0; i < order.size(); ++i) order[i] = i;
  unsigned round = 0;
  do {
    if (++round % 29 != 0) continue;  // some two dozen of them
    Client client(kRings);
    ASSERT_TRUE(client.connect(path));
    ASSERT_TRUE(client.negotiate());
    for (const unsigned ring : {1U, 0U}) {
      for (const unsigned step : order) ASSERT_TRUE(steps[step](client, ring)) << round;
      ASSERT_TRUE(client.echo(ring)) << round;
    }
    ASSERT_TRUE(client.echo(1)) << round;
  } while (std::next_permutation(order.begin(), order.end()));
}

TEST_P(VhostUserDeviceTest, ADisabledRingRests) {
  Client client(kRings);
  start(client);
  ASSERT_TRUE(client.echo(0));
  ASSERT_TRUE(client.enable(0, false));
  EXPECT_EQ(device().running(), kRings - 1);
  client.offer(0, bytes("wait"));
  client.rings[0]->kick.signal();
  ASSERT_TRUE(client.echo(1));
  EXPECT_FALSE(client.rings[0]->driver.reap());
  ASSERT_TRUE(client.enable(0, true));
  EXPECT_EQ(client.reap(0), 4U);
}

TEST_P(VhostUserDeviceTest, MemoryChangesWhileRingsRun) {
  Client client(kRings);
  start(client);
  for (unsigned n = 0; n < 20; ++n) {
    ASSERT_TRUE(client.set_memory());
    ASSERT_TRUE(client.echo(n % kRings)) << n;
  }
}

TEST_P(VhostUserDeviceTest, MemoryComesRegionByRegion) {
  Client client;
  ASSERT_TRUE(client.connect(path));
  ASSERT_TRUE(client.negotiate());
  ASSERT_TRUE(client.start_ring(0)) << "it waits for memory";
  const auto tell_region = [&](Request request, std::size_t index, MemoryRegion region) {
    const std::array fds{client.memory.regions()[index].fd};
    const std::span<const int> sent = fds;
    return client.tell(request, SingleRegion{.padding = 0, .region = region},
                       request == Request::kAddMemReg ? sent : sent.first(0));
  };
  for (const std::size_t i : {1U, 0U}) {
    ASSERT_TRUE(tell_region(Request::kAddMemReg, i, client.region(i)));
  }
  EXPECT_TRUE(client.echo(0));
  EXPECT_FALSE(tell_region(Request::kAddMemReg, 1, client.region(1))) << "there already";
  EXPECT_TRUE(tell_region(Request::kRemMemReg, 1, client.region(1)));
  EXPECT_FALSE(tell_region(Request::kRemMemReg, 1, client.region(1)));
  EXPECT_TRUE(client.echo(0));
  EXPECT_TRUE(tell_region(Request::kRemMemReg, 0, client.region(0)));
  EXPECT_EQ(device().running(), 0U);
}

TEST_P(VhostUserDeviceTest, FeaturesThatChangeBeginANewLife) {
  Client client;
  start(client);
  ASSERT_TRUE(client.echo(0));
  // As QEMU does again and again: the same ones.
  ASSERT_TRUE(client.tell(Request::kSetFeatures, Client::kVersion1 | Client::kProtocolBit));
  EXPECT_EQ(echo->activations, 1U);
  ASSERT_TRUE(client.tell(Request::kSetFeatures, Client::kVersion1 | Client::kProtocolBit |
                                                     testing::EchoDevice::kFeature));
  EXPECT_EQ(echo->activations, 2U);
  EXPECT_EQ(echo->features_seen, Client::kVersion1 | testing::EchoDevice::kFeature);
  EXPECT_TRUE(client.echo(0));
  EXPECT_FALSE(client.tell(Request::kSetFeatures, virtio::feature_mask(virtio::kFeatureAdminVq)))
      << "not offered";
  EXPECT_TRUE(client.echo(0));
}

TEST_P(VhostUserDeviceTest, ALargeConfigurationIsFilledWithZeroes) {
  Client client;
  ASSERT_TRUE(client.connect(path));
  std::array<std::byte, sizeof(ConfigHead) + kMaxConfig> asked{};
  const ConfigHead head{.offset = 0, .size = kMaxConfig, .flags = 0};
  std::memcpy(asked.data(), &head, sizeof head);
  const auto reply = client.ask_raw(Request::kGetConfig, asked);
  ASSERT_TRUE(reply);
  ASSERT_EQ(reply->header.size, asked.size());
  for (std::size_t i = 0; i < kMaxConfig; ++i) {
    const bool there = i < testing::EchoDevice::kConfigBytes;
    EXPECT_EQ(std::to_integer<unsigned>(reply->payload[sizeof head + i]), there ? i + 1 : 0U) << i;
  }
  // Past 256 there is nothing: an answer without a configuration says so.
  const ConfigHead past{.offset = 1, .size = kMaxConfig, .flags = 0};
  std::memcpy(asked.data(), &past, sizeof past);
  const auto refusal = client.ask_raw(Request::kGetConfig, asked);
  ASSERT_TRUE(refusal);
  EXPECT_EQ(refusal->header.size, 0U);
}

TEST_P(VhostUserDeviceTest, ConfigurationIsWrittenAndItsChangeIsTold) {
  Client client;
  ASSERT_TRUE(client.connect(path));
  ASSERT_TRUE(client.negotiate(Client::kVersion1 | Client::kProtocolBit,
                               Client::kAcks | 1U << kProtocolBackendReq | 1U << kProtocolConfig));
  auto requests = client.hear();
  ASSERT_TRUE(requests);
  echo->change_config();
  const auto told = requests->receive();
  ASSERT_TRUE(told) << told.error().message;
  EXPECT_EQ(told->header.request, kBackendConfigChange);
  EXPECT_EQ(told->header.flags, kVersion);
  EXPECT_EQ(told->header.size, 0U);

  std::array<std::byte, sizeof(ConfigHead) + 1> set{};
  const ConfigHead head{.offset = 3, .size = 1, .flags = 0};
  std::memcpy(set.data(), &head, sizeof head);
  set.back() = std::byte{0xee};
  ASSERT_TRUE(client.tell(Request::kSetConfig, set));
  std::array<std::byte, 1> now{};
  echo->read_config(3, now);
  EXPECT_EQ(now[0], std::byte{0xee});
}

TEST_P(VhostUserDeviceTest, StatusIsARegister) {
  Client client;
  ASSERT_TRUE(client.connect(path));
  ASSERT_TRUE(client.negotiate());
  EXPECT_EQ(client.ask<std::uint64_t>(Request::kGetStatus), 0U);
  ASSERT_TRUE(client.tell(Request::kSetStatus, std::uint64_t{11}));
  EXPECT_EQ(client.ask<std::uint64_t>(Request::kGetStatus), 11U);
}

TEST_P(VhostUserDeviceTest, ABrokenRingIsTold) {
  Client client(kRings);
  start(client);
  client.rings[0]->driver.set_avail_idx(1000);
  client.rings[0]->kick.signal();
  EXPECT_TRUE(eventually([&] { return client.rings[0]->err.consume() != 0; }));
  const auto status = client.ask<std::uint64_t>(Request::kGetStatus);
  EXPECT_EQ(status, virtio::kStatusNeedsReset);
  EXPECT_TRUE(client.echo(1));
}

TEST_P(VhostUserDeviceTest, TheNextClientComesWhenAllIsDone) {
  Client client(kRings);
  echo->hold = true;
  start(client);
  client.offer(0, bytes("last"));
  client.rings[0]->kick.signal();
  ASSERT_TRUE(eventually([&] { return echo->held == 1; }));
  client.disconnect();
  Client next(kRings);
  ASSERT_TRUE(next.connect(path)) << "it waits in the backlog";
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_EQ(server->connections(), 1U);
  echo->release();
  ASSERT_TRUE(next.negotiate());
  EXPECT_EQ(client.rings[0]->driver.used_idx(), 1U) << "what was in flight was finished";
  ASSERT_TRUE(next.set_memory());
  ASSERT_TRUE(next.start_ring(0));
  EXPECT_TRUE(next.echo(0));
}

TEST_P(VhostUserDeviceTest, AThousandClientsLeaveNothingBehind) {
  const auto once = [&] {
    Client client(kRings);
    start(client);
    ASSERT_TRUE(client.echo(0));
    client.offer(1, bytes("on its way"));
    client.rings[1]->kick.signal();
  };
  const auto gone = [&](std::uint64_t connections) {
    return eventually(
        [&] { return server->connections() == connections && echo->resets == connections; });
  };
  once();
  ASSERT_TRUE(gone(1));
  const auto before = open_descriptors();
  for (unsigned n = 0; n < 999; ++n) once();
  ASSERT_TRUE(gone(1000));
  // The last one's are closed after its reset.
  EXPECT_TRUE(eventually([&] { return open_descriptors() <= before; })) << open_descriptors();
}

TEST_P(VhostUserDeviceTest, EndsWhileAClientIsThere) {
  Client client(kRings);
  echo->hold = true;
  start(client);
  client.offer(0, bytes("bye"));
  client.rings[0]->kick.signal();
  ASSERT_TRUE(eventually([&] { return echo->held == 1; }));
  std::thread ends([&] { server->stop(); });
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_EQ(client.rings[0]->driver.used_idx(), 0U);
  echo->release();
  ends.join();
  EXPECT_TRUE(client.is_closed());
  EXPECT_EQ(client.rings[0]->driver.used_idx(), 1U) << "what was in flight is done";
  server.reset();
  EXPECT_NE(::access(path.c_str(), F_OK), 0) << "the socket's file goes with it";
}

}  // namespace
}  // namespace bellhop
