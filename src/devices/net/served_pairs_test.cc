// A NIC of several pairs of queues whose driver is behind a vhost-user front end: that answers the
// driver's commands, and says which pairs are in use by what it enables.
#include <gtest/gtest.h>

#include <array>
#include <memory>
#include <vector>

#include "devices/net/net_device.h"
#include "testing/memory_nic.h"
#include "testing/vhost_user_server_fixture.h"
#include "virtio/abi/net.h"

namespace bellhop {
namespace {

using PairsClient = testing::VhostUserClient;

constexpr unsigned kServedPairs = 2;

class ServedPairsTest : public ::testing::Test {
 protected:
  static std::unique_ptr<VirtioDevice> make(const std::shared_ptr<testing::MemoryNic>& wire) {
    NetOptions options;
    options.queue_size = 16;
    options.mac = 0x0605'0403'0202;
    return std::make_unique<NetDevice>(wire, options);
  }
  void greet(std::uint64_t more = 0) {
    ASSERT_TRUE(client.connect(service.path));
    ASSERT_TRUE(client.negotiate(PairsClient::kVersion1 | PairsClient::kProtocolBit | more));
    ASSERT_TRUE(client.set_memory());
  }
  void start_all(std::uint32_t base = 0) {
    for (unsigned i = 0; i < 2 * kServedPairs; ++i) {
      ASSERT_TRUE(client.set_size(i) && client.set_base(i, base) && client.set_addresses(i) &&
                  client.set_kick(i) && client.set_call(i));
    }
  }
  bool enable_pair(unsigned pair, bool on = true) {
    return client.enable(2 * pair, on) && client.enable(2 * pair + 1, on);
  }
  /// A frame comes in on a pair's wire, and one goes out.
  void expect_frames(unsigned pair) {
    const unsigned rx = 2 * pair;
    const GuestAddress at(PairsClient::kBuffers + pair * 0x10000);
    ASSERT_TRUE(client.rings[rx]->driver.add({{at, 2048, true}}));
    (void)client.rings[rx]->driver.offer();
    client.rings[rx]->kick.signal();
    const std::vector<std::byte> frame(kNetHeaderBytes + 60);
    ASSERT_TRUE(wire->put(frame, pair));
    EXPECT_EQ(client.reap(rx), frame.size());
    const GuestAddress out(at.value() + 0x1000);
    ASSERT_TRUE(client.memory.write(out, frame));
    ASSERT_TRUE(
        client.rings[rx + 1]->driver.add({{out, static_cast<std::uint32_t>(frame.size()), false}}));
    (void)client.rings[rx + 1]->driver.offer();
    EXPECT_TRUE(client.kick_and_reap(rx + 1));
    std::array<std::byte, 2048> got{};
    EXPECT_EQ(wire->get(got, pair), frame.size());
  }

  std::shared_ptr<testing::MemoryNic> wire = std::make_shared<testing::MemoryNic>(kServedPairs);
  testing::VhostUserService service{make(wire)};
  PairsClient client{2 * kServedPairs, 16};
};

constexpr std::uint64_t kMq = virtio::feature_mask(virtio::kNetFeatureMq);

TEST_F(ServedPairsTest, OffersPairsAndNoCommands) {
  ASSERT_TRUE(client.connect(service.path));
  const auto features = client.ask<std::uint64_t>(vhost_user::Request::kGetFeatures);
  ASSERT_TRUE(features);
  EXPECT_NE(*features & kMq, 0U);
  EXPECT_EQ(*features & virtio::feature_mask(virtio::kNetFeatureCtrlVq), 0U);
  EXPECT_EQ(client.ask<std::uint64_t>(vhost_user::Request::kGetQueueNum), 2 * kServedPairs);
}

TEST_F(ServedPairsTest, PairsComeAndGoAsTheyAreEnabled) {
  greet(kMq);
  start_all();
  ASSERT_TRUE(enable_pair(0));
  EXPECT_EQ(wire->pairs_in_use(), 1U);
  expect_frames(0);
  for (unsigned round = 0; round < 3; ++round) {
    // The driver's VQ_PAIRS_SET, as QEMU passes it on.
    ASSERT_TRUE(enable_pair(1));
    EXPECT_EQ(wire->pairs_in_use(), 2U);
    expect_frames(0);
    expect_frames(1);
    ASSERT_TRUE(enable_pair(1, false));
    EXPECT_EQ(wire->pairs_in_use(), 1U);
    expect_frames(0);
  }
  // A pair has two queues.
  ASSERT_TRUE(client.enable(2));
  EXPECT_EQ(wire->pairs_in_use(), 1U);
  EXPECT_EQ(service.device().refused(), 0U);
}

TEST_F(ServedPairsTest, AFrontEndThatPausesFindsItsPairsAgain) {
  greet(kMq);
  start_all();
  ASSERT_TRUE(enable_pair(0) && enable_pair(1));
  expect_frames(1);
  std::vector<std::uint32_t> bases;
  for (unsigned i = 0; i < 2 * kServedPairs; ++i) {
    const auto base = client.stop_ring(i);
    ASSERT_TRUE(base);
    bases.push_back(*base);
  }
  for (unsigned i = 0; i < 2 * kServedPairs; ++i) {
    ASSERT_TRUE(client.set_base(i, bases[i]) && client.set_kick(i));
  }
  EXPECT_EQ(wire->pairs_in_use(), 2U);
  expect_frames(0);
  expect_frames(1);
  // The next one begins with one.
  client = PairsClient(2 * kServedPairs, 16);
  greet(kMq);
  EXPECT_EQ(wire->pairs_in_use(), 1U);
}

TEST_F(ServedPairsTest, ADriverOfOnePairGetsOne) {
  greet();
  start_all();
  ASSERT_TRUE(enable_pair(0) && enable_pair(1));
  EXPECT_EQ(wire->pairs_in_use(), 1U);
  expect_frames(0);
}

}  // namespace
}  // namespace bellhop
