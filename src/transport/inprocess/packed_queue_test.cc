// Devices whose driver has taken packed rings.
#include <gtest/gtest.h>

#include <memory>

#include "testing/echo_device.h"
#include "testing/eventually.h"
#include "testing/fake_driver.h"
#include "testing/test_memory.h"
#include "transport/inprocess/in_process_device.h"
#include "virtio/abi/ring.h"

namespace bellhop {
namespace {

using testing::EchoDevice;
using testing::eventually;
using testing::FakeDriver;
using testing::must;

constexpr GuestAddress kReadAt{0x100000};
constexpr GuestAddress kWrittenAt{0x101000};

class PackedQueueTest : public ::testing::Test {
 protected:
  static constexpr std::uint64_t kPacked = virtio::feature_mask(virtio::kFeatureRingPacked);
  static constexpr std::uint16_t kSize = 5;  // as a packed ring may have

  PackedQueueTest() {
    auto made = std::make_unique<EchoDevice>(std::uint16_t{1});
    echo = made.get();
    host = must(InProcessDevice::create(
        std::move(made), {.memory = &memory, .threads = {thread.get()}, .ring_features = kPacked}));
  }
  Status start() {
    const QueueConfig config = driver.config();
    return host->start(virtio::kRingFeatures | kPacked, {&config, 1});
  }
  bool works() {
    if (!driver.add({{kReadAt, 8, false}, {kWrittenAt, 8, true}})) return false;
    if (driver.offer()) host->kick(0);
    return eventually([this] { return driver.reap().has_value(); });
  }

  GuestMemory memory = testing::make_memory();
  std::unique_ptr<IoThread> thread = must(IoThread::start({}));
  FakeDriver driver{memory, GuestAddress(0x10000), kSize, {.indirect = true, .packed = true}};
  EchoDevice* echo = nullptr;
  std::unique_ptr<InProcessDevice> host;
};

TEST_F(PackedQueueTest, IsOfferedWhereItIsAskedFor) {
  EXPECT_NE(host->life().offered_features() & kPacked, 0U);
  const auto other = must(InProcessDevice::create(std::make_unique<EchoDevice>(std::uint16_t{1}),
                                                  {.memory = &memory, .threads = {thread.get()}}));
  EXPECT_EQ(other->life().offered_features() & kPacked, 0U);
}

TEST_F(PackedQueueTest, AQueueThatTheKernelWouldServeIsServedHere) {
  echo->wants = Server::kKernel;
  must(start());
  EXPECT_EQ(host->life().server(0), Server::kDevice);
  EXPECT_EQ(echo->offloaded(), 0U);
  EXPECT_TRUE(works());
}

TEST_F(PackedQueueTest, AQueueThatTheKernelMustServeDoesNotStart) {
  echo->wants = Server::kKernel;
  echo->required = true;
  EXPECT_FALSE(start());
  EXPECT_EQ(echo->activations, 0U);
}

TEST_F(PackedQueueTest, GoesOnWhereItStoodInEitherRound) {
  must(start());
  DeviceLife& life = host->life();
  for (unsigned i = 1; i <= 3U * kSize; ++i) {
    ASSERT_TRUE(works());
    const auto state = life.quiesce_queue(0);
    ASSERT_TRUE(state.has_value());
    EXPECT_EQ(state->next_avail, i % kSize);
    EXPECT_EQ(state->next_used, i % kSize);
    EXPECT_EQ(state->avail_wrap, i / kSize % 2 == 0);
    EXPECT_EQ(state->used_wrap, i / kSize % 2 == 0);
    must(life.resume_queue(0, ring_state_of_packed_base(packed_base(*state))));
  }
  EXPECT_FALSE(life.quiesce_queue(0)->broken);
  EXPECT_FALSE(life.resume_queue(0, {.next_avail = kSize})) << "outside of the ring";
}

}  // namespace
}  // namespace bellhop
