#include "devices/vsock/vhost_vsock_device.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <thread>

#include "testing/fake_driver.h"
#include "testing/fake_hypervisor.h"
#include "testing/fake_vhost.h"
#include "testing/test_memory.h"
#include "transport/device_core.h"
#include "vhost/vhost_abi.h"
#include "virtio/abi/ring.h"

namespace bellhop {
namespace {

using namespace virtio;
using testing::FakeDriver;
using testing::FakeVhost;
using ::testing::HasSubstr;
using testing::make_memory;
using testing::must;

constexpr std::uint8_t kUp =
    kStatusAcknowledge | kStatusDriver | kStatusFeaturesOk | kStatusDriverOk;

/// The device behind a transport's core, before a driver.
struct VhostVsockDeviceTest : ::testing::Test, CoreClient {
  static constexpr std::uint16_t kSize = 16;

  Status arm_doorbell(unsigned, const EventFd&) override { return {}; }
  void disarm_doorbell(unsigned, const EventFd&) noexcept override {}
  [[nodiscard]] bool doorbells_reachable() const noexcept override { return true; }
  void device_was_reset() noexcept override {}
  void raise_config_interrupt() noexcept override {}

  VhostVsockDeviceTest() {
    auto vsock = must(VhostVsock::create(77, [this] { return kernel.open(); }));
    CoreClient& client = *this;
    core = must(DeviceCore::create(
        std::make_unique<VhostVsockDevice>("vsock0", 77, std::move(vsock)),
        {.memory = &memory, .threads = {thread.get()}, .notify = NotifyMode::kIoEventFd}, client));
  }

  std::uint8_t bring_up() {
    core->write_status(0);
    drivers.clear();
    for (std::uint32_t i = 0; i < 3; ++i) {
      const GuestAddress at{0x10000 * std::uint64_t{i + 1}};
      must(memory.write(at, std::vector<std::byte>(FakeDriver::bytes_needed(kSize)))
               ? Status()
               : fail("outside of memory"));
      drivers.emplace_back(memory, at, kSize);
      core->change_queue(i, [&](QueueConfig& config) { config = drivers.back().config(); });
    }
    core->write_status(kStatusAcknowledge | kStatusDriver);
    core->set_driver_features(
        0, core->device_features(0) & ~static_cast<std::uint32_t>(feature_mask(kFeatureEventIdx)));
    core->set_driver_features(1, core->device_features(1));
    core->write_status(kUp & ~kStatusDriverOk);
    core->write_status(kUp);
    return core->status();
  }
  bool sends(std::uint32_t bytes) {
    const std::uint64_t before = kernel.vsock_bytes();
    EXPECT_TRUE(drivers[1].add({{GuestAddress(0x100000), bytes, false}}));
    if (drivers[1].offer()) core->notify(1);
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (!drivers[1].reap()) {
      if (std::chrono::steady_clock::now() > end) return false;
      std::this_thread::yield();
    }
    return kernel.vsock_bytes() == before + bytes;
  }

  GuestMemory memory = make_memory();
  FakeVhost kernel{memory};
  std::unique_ptr<IoThread> thread = must(IoThread::start({}));
  std::unique_ptr<DeviceCore> core;
  std::vector<FakeDriver> drivers;
};

TEST_F(VhostVsockDeviceTest, TheKernelServesTwoQueuesAndTheThirdIsOurs) {
  EXPECT_EQ(bring_up(), kUp);
  EXPECT_EQ(kernel.serving(), 2U);
  EXPECT_EQ(kernel.cid(), 77U);
  EXPECT_EQ(core->runner(0).mode(), NotifyMode::kKernel);
  EXPECT_EQ(core->runner(2).mode(), NotifyMode::kIoEventFd);
  EXPECT_NE(kernel.acked_features() & feature_mask(kFeatureVersion1), 0U);
  for (int i = 0; i < 50; ++i) ASSERT_TRUE(sends(44));
  EXPECT_EQ(core->runner(1).counters().chains.get(), 0U);
  ASSERT_EQ(core->figures().size(), 1U);
  EXPECT_EQ(core->figures()[0].value, 2U);
}

TEST_F(VhostVsockDeviceTest, ShowsTheAddressAndNothingElse) {
  std::uint64_t cid = 0;
  core->write_config(0, std::as_bytes(std::span(&cid, 1)));
  core->read_config(0, std::as_writable_bytes(std::span(&cid, 1)));
  EXPECT_EQ(cid, 77U);
  std::uint32_t half = 1;
  core->read_config(4, std::as_writable_bytes(std::span(&half, 1)));
  EXPECT_EQ(half, 0U);
}

TEST_F(VhostVsockDeviceTest, PausesAndStartsAnew) {
  for (int life = 0; life < 5; ++life) {
    ASSERT_EQ(bring_up(), kUp);
    ASSERT_TRUE(sends(100));
    core->pause();
    EXPECT_EQ(kernel.serving(), 0U);
    core->resume();
    EXPECT_EQ(kernel.serving(), 2U);
    ASSERT_TRUE(sends(100));
  }
  core->write_status(0);
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
  core->notify(1);
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while ((core->status() & kStatusNeedsReset) == 0 && std::chrono::steady_clock::now() < end) {
    std::this_thread::yield();
  }
  EXPECT_NE(core->status() & kStatusNeedsReset, 0);
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
