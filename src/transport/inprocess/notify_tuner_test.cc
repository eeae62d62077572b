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
constexpr unsigned kSync = 1U << static_cast<unsigned>(NotifyMode::kSync);
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
  void slow_io_thread_and_slower_exits(unsigned takes_us, std::chrono::microseconds exit) {
    static_cast<EchoDevice&>(*fixture_.device).takes_us = takes_us;
    exit_ = exit;
  }
  /// In one of `modes` for longer than a slot of a trial.
  bool stays(unsigned modes) {
    for (int i = 0; i < 50; ++i) {
      if ((mode_bit() & modes) == 0) return false;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return true;
  }
  unsigned mode_bit() { return 1U << static_cast<unsigned>(life().notify_mode(0)); }
  void look_at(Optimize optimize) {
    tuner_->remove(life());
    must(life().set_notify(0, {NotifyMode::kAdaptive, optimize}, std::chrono::seconds(10)));
    tuner_->add(life());
  }

  void start_driver() {
    driver_ = std::thread([this] {
      testing::FakeDriver& ring = fixture_.queues[0]->driver;
      while (!stopping_) {
        if (!ring.add({{kFrom, 8, false}, {kTo, 8, true}})) return;
        if (ring.offer()) fixture_.host->kick(0);
        if (!eventually([&] { return ring.reap().has_value(); })) return;
        ++answered_;
        modes_ |= mode_bit();
        if (exit_.count() != 0 && mode_bit() == kSync) std::this_thread::sleep_for(exit_);
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
  std::chrono::microseconds exit_{0};  ///< how long the driver is away for a synchronous kick
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

/// What is chosen depends on what is measured: these have the machine for themselves.
using MeasuredNotifyTunerTest = NotifyTunerTest;

// A request takes the I/O thread its time. A vCPU answers at once, but its driver goes on so late
// that less is done in all.
TEST_F(MeasuredNotifyTunerTest, ForLatencyFindsTheWayThatAnswersSoonest) {
  if (testing::tests_packed_rings()) GTEST_SKIP() << "it sees nothing outstanding there";
  slow_io_thread_and_slower_exits(1000, std::chrono::milliseconds(5));
  look_at(Optimize::kLatency);
  start_driver();
  EXPECT_TRUE(eventually([&] { return modes_ == 0b111; }));
  EXPECT_TRUE(eventually([&] { return stays(kSync); }));
  stop_driver();
  EXPECT_TRUE(stopped_as_told_);
  EXPECT_EQ(life().counters(0).completions.get(), answered_);
}

TEST_F(MeasuredNotifyTunerTest, ForThroughputFindsTheWayThatDoesMost) {
  // Longer than an I/O thread waits for a CPU on a host with other things to do.
  slow_io_thread_and_slower_exits(50, std::chrono::milliseconds(10));
  look_at(Optimize::kThroughput);
  start_driver();
  EXPECT_TRUE(eventually([&] { return modes_ == 0b111; }));
  EXPECT_TRUE(eventually([&] { return stays(~kSync); }));
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
