#include "devices/vsock/vhost_vsock_device.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "testing/eventually.h"
#include "testing/fake_vhost.h"
#include "testing/offload_fixture.h"
#include "vhost/vhost_abi.h"

namespace bellhop {
namespace {

using namespace virtio;
using testing::eventually;
using testing::FakeVhost;
using ::testing::HasSubstr;
using testing::must;

/// The device behind its negotiation, before a driver.
struct VhostVsockDeviceTest : ::testing::Test, testing::OffloadFixture {
  VhostVsockDeviceTest() {
    auto vsock = must(VhostVsock::create(77, [this] { return kernel.open(); }));
    serve(std::make_unique<VhostVsockDevice>("vsock0", 77, std::move(vsock)));
  }
  ~VhostVsockDeviceTest() override { finish(); }

  bool sends(std::uint32_t bytes) {
    const std::uint64_t before = kernel.vsock_bytes();
    if (!works(1, {{GuestAddress(0x100000), bytes, false}})) return false;
    return kernel.vsock_bytes() == before + bytes;
  }

  FakeVhost kernel{memory};
};

TEST_F(VhostVsockDeviceTest, TheKernelServesTwoQueuesAndTheThirdIsOurs) {
  EXPECT_EQ(bring_up(), kUp);
  EXPECT_EQ(kernel.serving(), 2U);
  EXPECT_EQ(kernel.cid(), 77U);
  EXPECT_EQ(negotiation->life().server(0), Server::kKernel);
  EXPECT_EQ(negotiation->life().server(2), Server::kDevice);
  EXPECT_NE(kernel.acked_features() & feature_mask(kFeatureVersion1), 0U);
  for (int i = 0; i < 50; ++i) ASSERT_TRUE(sends(44));
  EXPECT_EQ(negotiation->life().counters(1).chains.get(), 0U);
  ASSERT_EQ(negotiation->life().stats().size(), 1U);
  EXPECT_EQ(negotiation->life().stats()[0].value, 2U);
}

TEST_F(VhostVsockDeviceTest, ShowsTheAddressAndNothingElse) {
  std::uint64_t cid = 0;
  negotiation->life().write_config(0, std::as_bytes(std::span(&cid, 1)));
  negotiation->life().read_config(0, std::as_writable_bytes(std::span(&cid, 1)));
  EXPECT_EQ(cid, 77U);
  std::uint32_t half = 1;
  negotiation->life().read_config(4, std::as_writable_bytes(std::span(&half, 1)));
  EXPECT_EQ(half, 0U);
}

TEST_F(VhostVsockDeviceTest, PausesAndStartsAnew) {
  for (int life = 0; life < 5; ++life) {
    ASSERT_EQ(bring_up(), kUp);
    ASSERT_TRUE(sends(100));
    negotiation->life().pause();
    EXPECT_EQ(kernel.serving(), 0U);
    negotiation->life().resume();
    EXPECT_EQ(kernel.serving(), 2U);
    ASSERT_TRUE(sends(100));
  }
  negotiation->write_status(0);
  EXPECT_EQ(kernel.serving(), 0U);
  EXPECT_EQ(kernel.wrong_calls(), 0U);
}

// There is nothing that it could fall back to.
TEST_F(VhostVsockDeviceTest, WithoutTheKernelItNeedsAReset) {
  kernel.refuse(VHOST_VSOCK_SET_RUNNING, EFAULT);
  EXPECT_NE(bring_up() & kStatusNeedsReset, 0);
  kernel.refuse(VHOST_VSOCK_SET_RUNNING, 0);
  EXPECT_EQ(bring_up(), kUp);
  EXPECT_TRUE(sends(44));
}

TEST_F(VhostVsockDeviceTest, ABrokenRingNeedsAReset) {
  ASSERT_EQ(bring_up(), kUp);
  drivers[1].set_avail_idx(0x4000);
  negotiation->life().notify(1);
  EXPECT_TRUE(eventually([this] { return needs_reset(); }));
  EXPECT_EQ(bring_up(), kUp);
  EXPECT_TRUE(sends(44));
}

TEST(MakeVhostVsockDevice, SaysWhatIsMissing) {
  if (::access(VhostVsock::kDevice, F_OK) == 0) {
    GTEST_SKIP() << "this host has the device: the nested tests use it";
  }
  const auto made = make_vhost_vsock_device("vsock0", 5);
  ASSERT_FALSE(made);
  EXPECT_THAT(made.error().message,
              HasSubstr("--vsock: vsock0: /dev/vhost-vsock is missing (modprobe vhost_vsock)"));
}

}  // namespace
}  // namespace bellhop
