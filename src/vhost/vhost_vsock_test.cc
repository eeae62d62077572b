#include "vhost/vhost_vsock.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "testing/fake_vhost.h"
#include "testing/test_memory.h"
#include "vhost/vhost_abi.h"

namespace bellhop {
namespace {

using testing::FakeVhost;
using ::testing::HasSubstr;
using testing::make_memory;
using testing::must;

struct VhostVsockTest : ::testing::Test {
  auto create(std::uint64_t cid) {
    return VhostVsock::create(cid, [this] { return kernel.open(); });
  }
  OffloadedRing handed(unsigned ring) {
    QueueConfig config;
    config.size = 16;
    config.ready = true;
    config.desc = GuestAddress(0x1000 * (ring + 1));
    config.driver = GuestAddress(0x1000 * (ring + 1) + 0x400);
    config.device = GuestAddress(0x1000 * (ring + 1) + 0x800);
    return {must(SplitRing::activate(memory, config, {}, counters)).areas(), 0, &kick, nullptr,
            nullptr};
  }
  GuestMemory memory = make_memory();
  FakeVhost kernel{memory};
  QueueCounters counters;
  EventFd kick = must(EventFd::create());
};

TEST_F(VhostVsockTest, BothRingsRunOrNone) {
  const auto vsock = must(create(42));
  EXPECT_EQ(kernel.cid(), 42U);
  EXPECT_EQ(vsock->features(), 2U) << "SEQPACKET";
  must(vsock->begin(~std::uint64_t{0}));
  must(vsock->ring(0).start(handed(0)));
  EXPECT_EQ(kernel.serving(), 0U);
  must(vsock->ring(1).start(handed(1)));
  EXPECT_EQ(kernel.serving(), 2U);
  (void)vsock->ring(0).stop();
  EXPECT_EQ(kernel.serving(), 0U);
  must(vsock->ring(0).start(handed(0)));
  EXPECT_EQ(kernel.serving(), 2U);
  (void)vsock->ring(1).stop();
  (void)vsock->ring(0).stop();
  EXPECT_EQ(kernel.wrong_calls(), 0U);
}

TEST_F(VhostVsockTest, SaysWhatIsWrongWithAnAddress) {
  kernel.take_cid(7);
  const auto taken = create(7);
  ASSERT_FALSE(taken);
  EXPECT_THAT(taken.error().message, HasSubstr("cid=7 is in use by another guest"));
  const auto host = create(2);
  ASSERT_FALSE(host);
  EXPECT_THAT(host.error().message, HasSubstr("cid=2"));
  EXPECT_EQ(kernel.open_handles(), 0U);
}

TEST_F(VhostVsockTest, ARefusalToRunIsAnError) {
  const auto vsock = must(create(3));
  must(vsock->begin(~std::uint64_t{0}));
  kernel.refuse(VHOST_VSOCK_SET_RUNNING, EFAULT);
  must(vsock->ring(0).start(handed(0)));
  EXPECT_FALSE(vsock->ring(1).start(handed(1)));
  kernel.refuse(VHOST_VSOCK_SET_RUNNING, 0);
  EXPECT_TRUE(vsock->ring(1).start(handed(1)));
  EXPECT_EQ(kernel.serving(), 2U);
}

}  // namespace
}  // namespace bellhop
