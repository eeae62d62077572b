#include <gtest/gtest.h>

#include <cstdlib>
#include <thread>

#include "testing/duel.h"
#include "testing/ring_fixture.h"
#include "virtio/ring/ring.h"

namespace bellhop {
namespace {

using testing::FakeDriver;
using testing::linger;
using testing::make_memory;
using testing::MeetingPoint;
using testing::must;
using testing::Pinned;
using testing::two_cpus;

constexpr GuestAddress kRingAt{0x10000};
constexpr GuestAddress kBuffersAt{0x800000};
constexpr std::uint16_t kSize = 16;

// Whoever goes to sleep says so and then looks once more; whoever has news shows it and then looks
// whether the other sleeps. With a full fence between the two steps on both sides one of them sees
// the other. Without it on either side both may miss it, where each has its store still on the way
// to memory while it looks: some nanoseconds, so the two do it at the same moment, very often, each
// on a CPU of its own. On a busy machine they rarely meet, and the test finds less; it never fails
// for that.
class Handshake : public ::testing::TestWithParam<RingFeatures> {
 protected:
  static constexpr unsigned kRounds = 400'000;
  static constexpr std::chrono::seconds kLongEnough{4};

  void SetUp() override {
    cpus = two_cpus();
    if (!cpus) GTEST_SKIP() << "two CPUs are needed";
  }
  /// Every third step of either thread; `device` and `driver` return whether their side has seen
  /// the other, and the rest puts the ring back into its state before.
  template <class Device, class Driver, class ThenDevice, class ThenDriver>
  void run(Device device, Driver act, ThenDevice then_device, ThenDriver then_driver) {
    MeetingPoint point;
    bool driver_saw = false;
    bool enough = false;
    std::thread other([&] {
      const Pinned pinned(cpus->second);
      for (unsigned round = 0;; ++round) {
        if (!point.meet()) return;
        linger(round / 32 % 32);
        driver_saw = act();
        if (!point.meet() || !point.meet()) return;
        then_driver();
        if (!point.meet() || enough) return;
      }
    });
    {
      const Pinned pinned(cpus->first);
      const auto end = std::chrono::steady_clock::now() + kLongEnough;
      unsigned round = 0;
      for (; !enough; ++round) {
        if (!point.meet()) break;
        linger(round % 32);
        const bool device_saw = device();
        if (!point.meet()) break;
        EXPECT_TRUE(device_saw || driver_saw) << "lost in round " << round;
        then_device();
        enough = round + 1 == kRounds || std::chrono::steady_clock::now() > end || HasFailure();
        if (!point.meet() || !point.meet()) break;
      }
      EXPECT_TRUE(enough) << "the other thread did not come to round " << round;
    }
    point.give_up();
    other.join();
  }

  std::optional<std::pair<int, int>> cpus;
  GuestMemory memory = make_memory();
  RingFeatures features = GetParam();
  FakeDriver driver{memory, kRingAt, kSize, features};
  QueueCounters counters;
  Ring ring = must(Ring::activate(memory, driver.config(), features, counters));
  DescriptorChain chain;
};

TEST_P(Handshake, NoKickIsLost) {
  ring.suppress_kicks();
  ASSERT_TRUE(driver.add({{kBuffersAt, 8, true}}));
  run([&] { return ring.enable_kicks(); }, [&] { return driver.offer(); },
      [&] {
        ring.suppress_kicks();
        ASSERT_EQ(ring.pop(chain), Pop::kChain);
        ring.complete(chain, 0);
        (void)ring.publish();
      },
      [&] {
        ASSERT_TRUE(driver.reap());
        ASSERT_TRUE(driver.add({{kBuffersAt, 8, true}}));
      });
}

TEST_P(Handshake, NoInterruptIsLost) {
  const auto offer = [&] {
    driver.suppress_interrupts();
    ASSERT_TRUE(driver.add({{kBuffersAt, 8, true}}));
    (void)driver.offer();
  };
  offer();
  ASSERT_EQ(ring.pop(chain), Pop::kChain);
  bool reaped = false;
  run(
      [&] {
        if (reaped && ring.pop(chain) != Pop::kChain) std::abort();
        ring.complete(chain, 0);
        return ring.publish();
      },
      [&] { return driver.enable_interrupts(); }, [&] { reaped = true; },
      [&] {
        ASSERT_TRUE(driver.reap());
        offer();
      });
}

INSTANTIATE_TEST_SUITE_P(Modes, Handshake,
                         ::testing::Values(RingFeatures{.event_idx = true},
                                           RingFeatures{.event_idx = false},
                                           RingFeatures{.event_idx = true, .packed = true},
                                           RingFeatures{.event_idx = false, .packed = true}),
                         [](const auto& which) { return testing::ring_name(which.param); });

}  // namespace
}  // namespace bellhop
