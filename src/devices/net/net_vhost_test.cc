#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "testing/net_bench.h"
#include "vhost/vhost_abi.h"

namespace bellhop {
namespace {

using namespace virtio;
using testing::NetBench;

/// A NIC whose frames the kernel carries; the fake one, which does it as the real one would.
class NetVhostTest : public ::testing::Test {
 protected:
  explicit NetVhostTest(unsigned pairs = 1)
      : bench(NotifyMode::kIoEventFd, pairs, {}, NetBench::Carrier::kFakeVhost) {}
  ~NetVhostTest() override {
    bench.stop();
    EXPECT_EQ(bench.vhost.wrong_calls(), 0U);
    EXPECT_EQ(bench.vhost.serving(), 0U);
  }
  [[nodiscard]] std::uint64_t figure(std::string_view name) const {
    const auto all = bench.device->figures();
    const auto found = std::ranges::find(all, name, &DeviceFigure::name);
    return found != all.end() ? found->value : ~std::uint64_t{0};
  }

  NetBench bench;
};

class NetVhostPairsTest : public NetVhostTest {
 protected:
  NetVhostPairsTest() : NetVhostTest(2) {}
  std::uint8_t use_pairs(std::uint16_t count) {
    return bench.command(kNetControlMq, kNetControlMqPairsSet, count);
  }
};

TEST_F(NetVhostTest, FramesGoPastUs) {
  bench.start();
  EXPECT_EQ(bench.vhost.serving(), 2U);
  EXPECT_EQ(figure("vhost_queues"), 2U);
  EXPECT_EQ(figure("vhost_starts"), 2U);
  for (unsigned i = 0; i < 50; ++i) ASSERT_TRUE(bench.works());
  EXPECT_EQ(bench.vhost.served(), 100U);
  const NetTotals totals = bench.device->totals();
  EXPECT_EQ(totals.rx_frames + totals.tx_frames + totals.guest_faults, 0U);
  for (unsigned queue = 0; queue < 2; ++queue) {
    const QueueCounters& counters = bench.queues[queue]->runner->counters();
    EXPECT_EQ(counters.kicks.get() + counters.chains.get() + counters.interrupts.get(), 0U);
  }
  EXPECT_EQ(bench.queues[2]->runner->mode(), NotifyMode::kIoEventFd) << "the control queue";
}

TEST_F(NetVhostTest, TheKernelGetsTheFeaturesThatAreItsBusiness) {
  bench.start();
  EXPECT_EQ(bench.vhost.acked_features(),
            feature_mask(kFeatureVersion1) | feature_mask(kFeatureIndirectDesc) |
                feature_mask(kFeatureEventIdx) | feature_mask(kNetFeatureMrgRxbuf));
  bench.restart(bench.device->traits().features & ~feature_mask(kNetFeatureMrgRxbuf));
  EXPECT_EQ(bench.vhost.acked_features() & feature_mask(kNetFeatureMrgRxbuf), 0U);
  EXPECT_TRUE(bench.works());
}

TEST_F(NetVhostTest, PausesLoseNothing) {
  bench.start();
  for (unsigned i = 0; i < 50; ++i) {
    ASSERT_TRUE(bench.works());
    bench.pause_and_resume();
    const auto frame = NetBench::frame(200, i);
    bench.put(frame);
    bench.give_buffers(1, 2048);
    ASSERT_TRUE(NetBench::same_frame(bench.receive(), frame));
  }
}

TEST_F(NetVhostTest, StartsAnew) {
  bench.start();
  for (unsigned i = 0; i < 10; ++i) {
    ASSERT_TRUE(bench.works());
    bench.restart(bench.device->traits().features);
  }
  EXPECT_TRUE(bench.works());
}

TEST_F(NetVhostTest, WithoutALinkNothingIsCarried) {
  bench.start();
  ASSERT_TRUE(bench.works());
  bench.device->set_link(false);
  EXPECT_EQ(bench.vhost.serving(), 0U);
  EXPECT_EQ(bench.config().status & kNetStatusLinkUp, 0);
  // Starting anew does not plug the cable in.
  bench.restart(bench.device->traits().features);
  EXPECT_EQ(bench.vhost.serving(), 0U);
  const auto frame = NetBench::frame(300, 1);
  EXPECT_TRUE(bench.nic->put(frame));
  bench.give_buffers(1, 2048);
  bench.device->set_link(true);
  EXPECT_EQ(bench.vhost.serving(), 2U);
  EXPECT_TRUE(NetBench::same_frame(bench.receive(), frame));
  EXPECT_TRUE(bench.works());
}

TEST_F(NetVhostTest, ABrokenRingIsTheKernelsToSee) {
  bench.start();
  ASSERT_TRUE(bench.works());
  bench.driver(1).set_avail_idx(0x7000);
  bench.kick(1);
  EXPECT_TRUE(NetBench::eventually([&] { return bench.sink.broken != 0; }));
  bench.restart(bench.device->traits().features);
  EXPECT_TRUE(bench.works());
}

TEST_F(NetVhostPairsTest, OnlyThePairsInUseAreCarried) {
  bench.start();
  EXPECT_EQ(bench.vhost.open_handles(), 2U);
  EXPECT_EQ(bench.vhost.serving(), 2U);
  ASSERT_EQ(use_pairs(2), kNetControlOk);
  EXPECT_EQ(bench.nic->pairs_in_use(), 2U);
  EXPECT_EQ(bench.vhost.serving(), 4U);
  const auto frame = NetBench::frame(100, 3);
  EXPECT_TRUE(bench.send(frame, 1));
  EXPECT_TRUE(NetBench::same_frame(bench.get(1), frame));
  bench.give_buffers(1, 2048, 1);
  bench.put(frame, 1);
  EXPECT_TRUE(NetBench::same_frame(bench.receive(1), frame));
  EXPECT_EQ(use_pairs(3), kNetControlError);
  ASSERT_EQ(use_pairs(1), kNetControlOk);
  EXPECT_EQ(bench.vhost.serving(), 2U);
  EXPECT_TRUE(bench.works());
  ASSERT_EQ(use_pairs(2), kNetControlOk);
  bench.restart(bench.device->traits().features);
  EXPECT_EQ(bench.vhost.serving(), 2U) << "one pair, until the driver asks for more";
}

TEST_F(NetVhostPairsTest, APairThatTheKernelRefusesIsRefused) {
  bench.start();
  bench.vhost.refuse(VHOST_NET_SET_BACKEND, EBUSY);
  EXPECT_EQ(use_pairs(2), kNetControlError);
  EXPECT_EQ(bench.nic->pairs_in_use(), 1U) << "the host's frames come to the first pair";
  bench.vhost.refuse(VHOST_NET_SET_BACKEND, 0);
  EXPECT_TRUE(bench.works());
  EXPECT_EQ(use_pairs(2), kNetControlOk);
  EXPECT_EQ(bench.vhost.serving(), 4U);
}

TEST_F(NetVhostPairsTest, ADriverOfOnePairHasTheControlQueueThird) {
  bench.start(bench.device->traits().features & ~feature_mask(kNetFeatureMq));
  EXPECT_EQ(bench.queues[1]->runner->mode(), NotifyMode::kKernel);
  EXPECT_EQ(bench.queues[2]->runner->mode(), NotifyMode::kIoEventFd);
  EXPECT_EQ(bench.vhost.serving(), 2U);
  EXPECT_TRUE(bench.works());
}

}  // namespace
}  // namespace bellhop
