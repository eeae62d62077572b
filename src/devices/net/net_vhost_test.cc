#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "testing/eventually.h"
#include "testing/net_fixture.h"
#include "vhost/vhost_abi.h"

namespace bellhop {
namespace {

using namespace virtio;
using testing::eventually;
using testing::NetFixture;

/// A NIC whose frames the kernel carries; the fake one, which does it as the real one would.
class NetVhostTest : public ::testing::Test {
 protected:
  explicit NetVhostTest(unsigned pairs = 1)
      : fixture(NotifyMode::kIoEventFd, pairs, {}, NetFixture::Mover::kFakeVhost) {}
  ~NetVhostTest() override {
    fixture.stop();
    EXPECT_EQ(fixture.vhost.wrong_calls(), 0U);
    EXPECT_EQ(fixture.vhost.serving(), 0U);
  }
  [[nodiscard]] std::uint64_t stat(std::string_view name) const {
    const auto all = fixture.device->stats();
    const auto found = std::ranges::find(all, name, &DeviceStat::name);
    return found != all.end() ? found->value : ~std::uint64_t{0};
  }

  NetFixture fixture;
};

class NetVhostPairsTest : public NetVhostTest {
 protected:
  NetVhostPairsTest() : NetVhostTest(2) {}
  std::uint8_t use_pairs(std::uint16_t count) {
    return fixture.command(kNetControlMq, kNetControlMqPairsSet, count);
  }
};

TEST_F(NetVhostTest, FramesGoPastUs) {
  fixture.start();
  EXPECT_EQ(fixture.vhost.serving(), 2U);
  EXPECT_EQ(stat("vhost_queues"), 2U);
  EXPECT_EQ(stat("vhost_starts"), 2U);
  for (unsigned i = 0; i < 50; ++i) ASSERT_TRUE(fixture.works());
  EXPECT_EQ(fixture.vhost.served(), 100U);
  const NetTotals totals = fixture.device->totals();
  EXPECT_EQ(totals.rx_frames + totals.tx_frames + totals.guest_faults, 0U);
  for (unsigned queue = 0; queue < 2; ++queue) {
    const QueueCounters& counters = fixture.host->life().counters(queue);
    EXPECT_EQ(counters.kicks.get() + counters.chains.get() + counters.interrupts.get(), 0U);
  }
  EXPECT_EQ(fixture.host->life().server(2), Server::kDevice) << "the control queue";
}

TEST_F(NetVhostTest, TheKernelGetsTheFeaturesThatAreItsBusiness) {
  fixture.start();
  EXPECT_EQ(fixture.vhost.acked_features(),
            feature_mask(kFeatureVersion1) | feature_mask(kFeatureIndirectDesc) |
                feature_mask(kFeatureEventIdx) | feature_mask(kNetFeatureMrgRxbuf));
  fixture.restart(fixture.device->traits().features & ~feature_mask(kNetFeatureMrgRxbuf));
  EXPECT_EQ(fixture.vhost.acked_features() & feature_mask(kNetFeatureMrgRxbuf), 0U);
  EXPECT_TRUE(fixture.works());
}

TEST_F(NetVhostTest, PausesLoseNothing) {
  fixture.start();
  for (unsigned i = 0; i < 50; ++i) {
    ASSERT_TRUE(fixture.works());
    fixture.pause_and_resume();
    const auto frame = NetFixture::frame(200, i);
    fixture.put(frame);
    fixture.give_buffers(1, 2048);
    ASSERT_TRUE(NetFixture::same_frame(fixture.receive(), frame));
  }
}

TEST_F(NetVhostTest, StartsAnew) {
  fixture.start();
  for (unsigned i = 0; i < 10; ++i) {
    ASSERT_TRUE(fixture.works());
    fixture.restart(fixture.device->traits().features);
  }
  EXPECT_TRUE(fixture.works());
}

TEST_F(NetVhostTest, WithoutALinkNothingIsCarried) {
  fixture.start();
  ASSERT_TRUE(fixture.works());
  fixture.device->set_link(false);
  EXPECT_EQ(fixture.vhost.serving(), 0U);
  EXPECT_EQ(fixture.config().status & kNetStatusLinkUp, 0);
  // Starting anew does not plug the cable in.
  fixture.restart(fixture.device->traits().features);
  EXPECT_EQ(fixture.vhost.serving(), 0U);
  const auto frame = NetFixture::frame(300, 1);
  EXPECT_TRUE(fixture.nic->put(frame));
  fixture.give_buffers(1, 2048);
  fixture.device->set_link(true);
  EXPECT_EQ(fixture.vhost.serving(), 2U);
  EXPECT_TRUE(NetFixture::same_frame(fixture.receive(), frame));
  EXPECT_TRUE(fixture.works());
}

TEST_F(NetVhostTest, ABrokenRingIsTheKernelsToSee) {
  fixture.start();
  ASSERT_TRUE(fixture.works());
  fixture.driver(1).set_avail_idx(0x7000);
  fixture.kick(1);
  EXPECT_TRUE(eventually([&] { return fixture.host->resets_needed() != 0; }));
  fixture.restart(fixture.device->traits().features);
  EXPECT_TRUE(fixture.works());
}

TEST_F(NetVhostPairsTest, OnlyThePairsInUseAreCarried) {
  fixture.start();
  EXPECT_EQ(fixture.vhost.open_handles(), 2U);
  EXPECT_EQ(fixture.vhost.serving(), 2U);
  ASSERT_EQ(use_pairs(2), kNetControlOk);
  EXPECT_EQ(fixture.nic->pairs_in_use(), 2U);
  EXPECT_EQ(fixture.vhost.serving(), 4U);
  const auto frame = NetFixture::frame(100, 3);
  EXPECT_TRUE(fixture.send(frame, 1));
  EXPECT_TRUE(NetFixture::same_frame(fixture.get(1), frame));
  fixture.give_buffers(1, 2048, 1);
  fixture.put(frame, 1);
  EXPECT_TRUE(NetFixture::same_frame(fixture.receive(1), frame));
  EXPECT_EQ(use_pairs(3), kNetControlError);
  ASSERT_EQ(use_pairs(1), kNetControlOk);
  EXPECT_EQ(fixture.vhost.serving(), 2U);
  EXPECT_TRUE(fixture.works());
  ASSERT_EQ(use_pairs(2), kNetControlOk);
  fixture.restart(fixture.device->traits().features);
  EXPECT_EQ(fixture.vhost.serving(), 2U) << "one pair, until the driver asks for more";
}

TEST_F(NetVhostPairsTest, APairThatTheKernelRefusesIsRefused) {
  fixture.start();
  fixture.vhost.refuse(VHOST_NET_SET_BACKEND, EBUSY);
  EXPECT_EQ(use_pairs(2), kNetControlError);
  EXPECT_EQ(fixture.nic->pairs_in_use(), 1U) << "the host's frames come to the first pair";
  fixture.vhost.refuse(VHOST_NET_SET_BACKEND, 0);
  EXPECT_TRUE(fixture.works());
  EXPECT_EQ(use_pairs(2), kNetControlOk);
  EXPECT_EQ(fixture.vhost.serving(), 4U);
}

TEST_F(NetVhostPairsTest, ADriverOfOnePairHasTheControlQueueThird) {
  fixture.start(fixture.device->traits().features & ~feature_mask(kNetFeatureMq));
  EXPECT_EQ(fixture.host->life().server(1), Server::kKernel);
  EXPECT_EQ(fixture.host->life().server(2), Server::kDevice);
  EXPECT_EQ(fixture.vhost.serving(), 2U);
  EXPECT_TRUE(fixture.works());
}

}  // namespace
}  // namespace bellhop
