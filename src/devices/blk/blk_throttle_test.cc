// A disk that may do so much in a second. That it does no more is certain on any machine; that it
// does as much is RateLimitTest's to show.
#include <gtest/gtest.h>

#include <chrono>

#include "base/rate_group.h"
#include "devices/blk/blk_device.h"
#include "testing/device_fixture.h"
#include "testing/eventually.h"
#include "testing/memory_backend.h"

namespace bellhop {
namespace {

using namespace std::chrono_literals;
using namespace virtio;
using testing::DeviceFixture;
using Clock = std::chrono::steady_clock;

constexpr std::uint64_t kThrottledDisk = 1 << 20;

class BlkThrottleTest : public ::testing::TestWithParam<NotifyMode> {
 protected:
  void serve(const Rates& rates) {
    auto device =
        std::make_unique<BlkDevice>(std::make_shared<MemoryBackend>(kThrottledDisk),
                                    BlkOptions{.queue_size = DeviceFixture::kSize, .rates = rates});
    device_ = device.get();
    disk_.serve(std::move(device));
    disk_.start();
    const BlkRequestHeader read{kBlkTypeIn, 0, 0};
    EXPECT_TRUE(disk_.memory.write(kHeader, std::as_bytes(std::span(&read, 1))));
  }
  void set_rates(const Rates& rates) { device_->set_rates(rates); }
  void offer_read(std::uint32_t bytes) {
    const auto head = disk_.driver(0).add(
        {{kHeader, sizeof(BlkRequestHeader), false}, {kData, bytes, true}, {kStatus, 1, true}});
    ASSERT_TRUE(head);
    disk_.offer(0);
  }
  /// How long so many reads take of a driver that has `depth` outstanding.
  Clock::duration time_of(unsigned reads, unsigned depth, std::uint32_t bytes) {
    const auto begin = Clock::now();
    unsigned offered = 0;
    for (unsigned done = 0; done < reads; ++done) {
      while (offered < reads && offered < done + depth) {
        offer_read(bytes);
        ++offered;
      }
      const auto used = disk_.wait_used(0);
      EXPECT_TRUE(used && used->length == bytes + 1);
    }
    return Clock::now() - begin;
  }

  static constexpr GuestAddress kHeader{DeviceFixture::kBuffers};
  static constexpr GuestAddress kStatus{DeviceFixture::kBuffers + 0x100};
  static constexpr GuestAddress kData{DeviceFixture::kBuffers + 0x1000};
  DeviceFixture disk_{GetParam()};
  BlkDevice* device_ = nullptr;
};

INSTANTIATE_TEST_SUITE_P(Modes, BlkThrottleTest,
                         ::testing::Values(NotifyMode::kIoEventFd, NotifyMode::kSync,
                                           NotifyMode::kPoll));

TEST_P(BlkThrottleTest, DoesNoMoreRequestsThanItMay) {
  serve({.units = 1000, .bytes = 0, .burst = 1ms});
  for (const unsigned depth : {1U, 16U}) EXPECT_GE(time_of(100, depth, 512), 97ms) << depth;
  EXPECT_EQ(disk_.stat("read_ops"), 200U);
}

// A machine on which a request takes as long as its rate gives it has none that wait: it is asked
// again until one has.
TEST_P(BlkThrottleTest, CountsWhatWaits) {
  serve({.units = 100, .bytes = 0, .burst = 0ms});
  EXPECT_TRUE(testing::eventually([&] {
    (void)time_of(2, 2, 512);
    return disk_.stat("throttled") > 0;
  }));
  EXPECT_GT(disk_.stat("throttled_ns"), 0U);
}

TEST_P(BlkThrottleTest, DoesNoMoreBytesThanItMay) {
  serve({.units = 0, .bytes = 10 << 20, .burst = 0ms});
  // The last one's bytes are paid for after it has gone.
  EXPECT_GE(time_of(17, 4, 64 << 10), 99ms);
}

TEST_P(BlkThrottleTest, BelowItsRateNothingWaits) {
  serve({.units = 100'000'000, .bytes = std::uint64_t{1} << 40, .burst = 1s});
  (void)time_of(100, 16, 512);
  EXPECT_EQ(disk_.stat("throttled"), 0U);
}

// From no rate to one so low that a request would wait for hours, and back: it is let go soon
// after, and nothing of what waited is counted by rates that are no more.
TEST_P(BlkThrottleTest, RatesMayChangeWhileItWaits) {
  serve({});
  (void)time_of(16, 4, 512);
  EXPECT_EQ(disk_.stat("throttled"), 0U);
  set_rates({.units = 0, .bytes = 1, .burst = 0ms});
  for (int i = 0; i < 2; ++i) offer_read(4096);
  ASSERT_TRUE(disk_.wait_used(0)) << "the first goes at once, and is paid for by the next";
  EXPECT_TRUE(testing::eventually([&] { return disk_.stat("throttled_ns") > 200'000'000; }))
      << "it looks again now and then";
  EXPECT_EQ(disk_.stat("throttled"), 0U) << "it waits still";
  set_rates({});
  ASSERT_TRUE(disk_.wait_used(0));
  (void)time_of(16, 4, 512);
  set_rates({.units = 1000, .bytes = 0, .burst = 1ms});
  EXPECT_GE(time_of(50, 4, 512), 47ms);
}

// What waits for its time is in the ring: nothing is in flight, and nothing is lost.
TEST_P(BlkThrottleTest, MayBePausedAndResetWhileItWaits) {
  serve({.units = 10, .bytes = 0, .burst = 0ms});
  for (int i = 0; i < 3; ++i) offer_read(512);
  ASSERT_TRUE(disk_.wait_used(0));
  disk_.pause_and_resume();
  ASSERT_TRUE(disk_.wait_used(0));
  disk_.restart();
  offer_read(512);
  ASSERT_TRUE(disk_.wait_used(0));
  offer_read(512);
  disk_.stop();
}

/// Two disks, each on a thread of its own, that share one limit.
class BlkRateGroupTest : public ::testing::Test {
 protected:
  struct Disk {
    explicit Disk(Throttle& group) {
      auto device = std::make_unique<BlkDevice>(
          std::make_shared<MemoryBackend>(kThrottledDisk),
          BlkOptions{.queue_size = DeviceFixture::kSize, .group = &group});
      fixture.serve(std::move(device));
      fixture.start();
      const BlkRequestHeader read{kBlkTypeIn, 0, 0};
      EXPECT_TRUE(fixture.memory.write(GuestAddress(DeviceFixture::kBuffers),
                                       std::as_bytes(std::span(&read, 1))));
    }
    void read() {
      ASSERT_TRUE(fixture.driver(0).add(
          {{GuestAddress(DeviceFixture::kBuffers), sizeof(BlkRequestHeader), false},
           {GuestAddress(DeviceFixture::kBuffers + 0x1000), 512, true},
           {GuestAddress(DeviceFixture::kBuffers + 0x100), 1, true}}));
      fixture.offer(0);
    }
    DeviceFixture fixture{NotifyMode::kIoEventFd};
  };
};

TEST_F(BlkRateGroupTest, TogetherTheyDoNoMoreThanTheGroupMay) {
  constexpr unsigned kReads = 60;  // of each
  RateGroup group("g", {.units = 1000, .bytes = 0, .burst = 1ms});
  Disk one(group.throttle);
  Disk other(group.throttle);
  const auto begin = Clock::now();
  for (unsigned i = 0; i < kReads; ++i) {
    one.read();
    other.read();
  }
  for (unsigned i = 0; i < kReads; ++i) {
    ASSERT_TRUE(one.fixture.wait_used(0));
    ASSERT_TRUE(other.fixture.wait_used(0));
  }
  EXPECT_GE(Clock::now() - begin, 2 * kReads * 1ms - 3ms);
  EXPECT_EQ(group.throttle.times.get(),
            one.fixture.stat("throttled") + other.fixture.stat("throttled"));
  EXPECT_EQ(group.throttle.nanoseconds.get(),
            one.fixture.stat("throttled_ns") + other.fixture.stat("throttled_ns"));
  // What waits looks at other rates, whichever disk it is of.
  group.set_rates({.units = 1, .bytes = 0, .burst = 0ms});
  for (int i = 0; i < 3; ++i) {
    one.read();
    other.read();
  }
  group.set_rates({});
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(one.fixture.wait_used(0));
    ASSERT_TRUE(other.fixture.wait_used(0));
  }
}

}  // namespace
}  // namespace bellhop
