// A NIC that may do so much in a second, each way. That it does no more is certain on any machine;
// that it does as much is RateLimitTest's to show.
#include <gtest/gtest.h>

#include <chrono>

#include "devices/net/net_device.h"
#include "testing/eventually.h"
#include "testing/net_fixture.h"

namespace bellhop {
namespace {

using namespace std::chrono_literals;
using testing::eventually;
using testing::NetFixture;

class NetThrottleTest : public ::testing::TestWithParam<NotifyMode> {
 protected:
  using Clock = std::chrono::steady_clock;

  std::uint64_t counted(const NetFixture& nic, std::string_view name) {
    for (const DeviceStat& stat : nic.device->stats()) {
      if (name == stat.name) return stat.value;
    }
    ADD_FAILURE() << name;
    return 0;
  }
  Clock::duration time_of_sends(NetFixture& nic, unsigned frames, std::size_t bytes) {
    const auto begin = Clock::now();
    for (unsigned i = 0; i < frames; ++i) {
      const auto frame = NetFixture::frame(bytes, i);
      EXPECT_TRUE(nic.send(frame));
      EXPECT_TRUE(NetFixture::same_frame(nic.get(), frame));
    }
    return Clock::now() - begin;
  }
  Clock::duration time_of_receives(NetFixture& nic, unsigned frames, std::size_t bytes) {
    const auto begin = Clock::now();
    for (unsigned i = 0; i < frames; ++i) {
      const auto frame = NetFixture::frame(bytes, i);
      nic.give_buffers(1, 2048);
      nic.put(frame);
      EXPECT_TRUE(NetFixture::same_frame(nic.receive(), frame));
    }
    return Clock::now() - begin;
  }
};

INSTANTIATE_TEST_SUITE_P(Modes, NetThrottleTest,
                         ::testing::Values(NotifyMode::kIoEventFd, NotifyMode::kSync,
                                           NotifyMode::kPoll));

TEST_P(NetThrottleTest, CarriesNoMoreFramesThanItMay) {
  NetFixture nic(GetParam(), 1, {.rates = {.units = 1000, .bytes = 0, .burst = 1ms}});
  nic.start();
  EXPECT_GE(time_of_sends(nic, 50, 60), 47ms);
  EXPECT_GE(time_of_receives(nic, 50, 60), 47ms);
}

// A machine on which a frame takes as long as its rate gives it has none that wait: it is asked
// again until one has.
TEST_P(NetThrottleTest, CountsWhatWaitsEachWay) {
  NetFixture nic(GetParam(), 1, {.rates = {.units = 100, .bytes = 0, .burst = 0ms}});
  nic.start();
  EXPECT_TRUE(eventually([&] {
    (void)time_of_sends(nic, 2, 60);
    return counted(nic, "tx_throttled") > 0;
  }));
  EXPECT_EQ(counted(nic, "rx_throttled"), 0U) << "the other way is another one";
  EXPECT_TRUE(eventually([&] {
    (void)time_of_receives(nic, 2, 60);
    return counted(nic, "rx_throttled") > 0;
  }));
  EXPECT_GT(counted(nic, "rx_throttled_ns"), 0U);
}

TEST_P(NetThrottleTest, CarriesNoMoreBytesThanItMay) {
  NetFixture nic(GetParam(), 1, {.rates = {.units = 0, .bytes = 1'000'000, .burst = 0ms}});
  nic.start();
  EXPECT_GE(time_of_sends(nic, 51, 1000), 49ms);
  EXPECT_GE(time_of_receives(nic, 51, 1000), 49ms);
}

TEST_P(NetThrottleTest, MayBePausedAndResetWhileItWaits) {
  NetFixture nic(GetParam(), 1, {.rates = {.units = 10, .bytes = 0, .burst = 0ms}});
  nic.start();
  ASSERT_TRUE(nic.works());
  nic.pause_and_resume();
  ASSERT_TRUE(nic.works());
  nic.restart(nic.device->traits().features);
  ASSERT_TRUE(nic.works());
}

}  // namespace
}  // namespace bellhop
