#include "virtio/device/notify_tuner.h"

#include <gtest/gtest.h>

#include <atomic>
#include <set>
#include <thread>

#include "testing/device_fixture.h"
#include "testing/echo_device.h"
#include "testing/eventually.h"

namespace bellhop {
namespace {

using testing::DeviceFixture;
using testing::EchoDevice;
using testing::eventually;
using testing::must;

constexpr GuestAddress kFrom{DeviceFixture::kBuffers};
constexpr GuestAddress kTo{DeviceFixture::kBuffers + 0x1000};

/// An adaptive device, a tuner, and a driver that keeps one queue busy on a thread of its own.
class NotifyTunerTest : public ::testing::Test {
 protected:
  NotifyTunerTest() {
    fixture_.serve(std::make_unique<EchoDevice>(std::uint16_t{2}));
    fixture_.start();
    tuner_ = must(NotifyTuner::create());
    tuner_->add(life());
  }
  ~NotifyTunerTest() override {
    stop_driver();
    tuner_.reset();
  }
  DeviceLife& life() { return fixture_.host->life(); }

  void start_driver() {
    driver_ = std::thread([this] {
      testing::FakeDriver& ring = fixture_.queues[0]->driver;
      while (!stopping_) {
        if (!ring.add({{kFrom, 8, false}, {kTo, 8, true}})) return;
        if (ring.offer()) fixture_.host->kick(0);
        if (!eventually([&] { return ring.reap().has_value(); })) return;
        ++answered_;
        modes_ |= 1U << static_cast<unsigned>(life().notify_mode(0));
      }
      stopped_as_told_ = true;
    });
  }
  void stop_driver() {
    stopping_ = true;
    if (driver_.joinable()) driver_.join();
  }

  DeviceFixture fixture_{NotifyMode::kAdaptive};
  std::unique_ptr<NotifyTuner> tuner_;
  std::thread driver_;
  std::atomic<bool> stopping_{false};
  std::atomic<bool> stopped_as_told_{false};
  std::atomic<std::uint64_t> answered_{0};
  std::atomic<unsigned> modes_{0};
};

TEST_F(NotifyTunerTest, TriesEveryWayOnABusyQueueAndLosesNothing) {
  start_driver();
  EXPECT_TRUE(eventually([&] { return modes_ == 0b111; }));
  EXPECT_EQ(life().notify_mode(1), NotifyMode::kIoEventFd);  // has nothing to do
  stop_driver();
  EXPECT_TRUE(stopped_as_told_);
  EXPECT_EQ(life().counters(0).completions.get(), answered_);
  EXPECT_EQ(life().guest_faults(), 0U);
}

TEST_F(NotifyTunerTest, LeavesAQueueThatRestsAlone) {
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  EXPECT_EQ(life().notify_mode(0), NotifyMode::kIoEventFd);
}

TEST_F(NotifyTunerTest, GoesOnAfterADriverThatStartsAnew) {
  start_driver();
  EXPECT_TRUE(eventually([&] { return modes_ == 0b111; }));
  stop_driver();
  fixture_.restart(EchoDevice::kFeature);
  EXPECT_EQ(life().notify_mode(0), NotifyMode::kIoEventFd);
  stopping_ = false;
  modes_ = 0;
  start_driver();
  EXPECT_TRUE(eventually([&] { return modes_ == 0b111; }));
}

TEST_F(NotifyTunerTest, MayGoWhileTheQueueIsBusy) {
  start_driver();
  EXPECT_TRUE(eventually([&] { return modes_ != 0; }));
  tuner_.reset();
  const std::uint64_t before = answered_;
  EXPECT_TRUE(eventually([&] { return answered_ > before + 100; }));
}

}  // namespace
}  // namespace bellhop
