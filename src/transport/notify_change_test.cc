#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <string>
#include <thread>

#include "testing/eventually.h"
#include "testing/transport_fixture.h"
#include "virtio/device/notify_tuner.h"

namespace bellhop {
namespace {

using namespace std::chrono_literals;
using testing::eventually;
using testing::TransportFixture;
using Kind = TransportFixture::Kind;

constexpr std::array kModes = {NotifyMode::kSync, NotifyMode::kPoll, NotifyMode::kIoEventFd};
constexpr auto kPatience = 10s;

class NotifyModeTest : public ::testing::TestWithParam<Kind> {
 protected:
  explicit NotifyModeTest(NotifyMode mode) : fixture_(GetParam(), mode) {}
  /// Whether a driver's kick is an exit now: asked for by a driver that finds kicks switched on.
  bool kicks_by_exit(std::uint16_t queue) {
    const auto before = fixture_.life->counters(queue).kicks_by_exit.get();
    fixture_.driver->kick(queue);
    return fixture_.life->counters(queue).kicks_by_exit.get() != before;
  }

  TransportFixture fixture_;
};

/// A device whose queues change between the ways of notification while it runs.
class NotifyChangeTest : public NotifyModeTest {
 protected:
  NotifyChangeTest() : NotifyModeTest(NotifyMode::kAdaptive) {}
  bool change(NotifyMode mode, unsigned queue = 0) {
    return fixture_.life->change_notify(queue, mode, kPatience);
  }
};

TEST_P(NotifyChangeTest, BeginsWithIoEventFds) {
  ASSERT_TRUE(fixture_.bring_up());
  EXPECT_EQ(fixture_.life->notify_mode(0), NotifyMode::kIoEventFd);
  EXPECT_TRUE(fixture_.echoes(0, 1));
  EXPECT_FALSE(kicks_by_exit(0));
}

TEST_P(NotifyChangeTest, EveryWayServesAfterEveryOther) {
  ASSERT_TRUE(fixture_.bring_up());
  std::uint8_t value = 0;
  for (const NotifyMode from : kModes) {
    for (const NotifyMode to : kModes) {
      ASSERT_TRUE(change(from));
      ASSERT_TRUE(fixture_.echoes(0, ++value));
      ASSERT_TRUE(change(to));
      EXPECT_EQ(fixture_.life->notify_mode(0), to);
      ASSERT_TRUE(fixture_.echoes(0, ++value)) << to_string(from) << " to " << to_string(to);
      EXPECT_EQ(kicks_by_exit(0), to == NotifyMode::kSync);
      ASSERT_TRUE(fixture_.echoes(1, ++value));  // the other queue is as it was
      EXPECT_FALSE(kicks_by_exit(1));
    }
  }
  EXPECT_EQ(fixture_.life->guest_faults(), 0U);
}

TEST_P(NotifyChangeTest, WhatWasOfferedWithoutAKickIsServed) {
  ASSERT_TRUE(fixture_.bring_up());
  for (const NotifyMode mode : kModes) {
    fixture_.add(0, 7);
    (void)fixture_.rings[0].offer();  // its kick is on the way
    ASSERT_TRUE(change(mode));
    EXPECT_TRUE(fixture_.reap(0));
    EXPECT_EQ(fixture_.answer(0), 7);
  }
}

TEST_P(NotifyChangeTest, WhatIsOutstandingCanBeSeenInEveryWay) {
  EXPECT_EQ(fixture_.life->outstanding(0), std::nullopt) << "it does not run";
  ASSERT_TRUE(fixture_.bring_up());
  EXPECT_EQ(fixture_.life->outstanding(TransportFixture::kQueues), std::nullopt);
  // A packed ring has no index of what was offered.
  const auto count = [](std::uint16_t requests) {
    return testing::tests_packed_rings() ? std::nullopt : std::optional(requests);
  };
  for (const NotifyMode mode : kModes) {
    ASSERT_TRUE(change(mode));
    EXPECT_EQ(fixture_.life->outstanding(0), count(0));
    fixture_.echo->hold = true;
    for (std::uint16_t i = 1; i <= 2; ++i) {
      fixture_.add(0, 3);
      (void)fixture_.rings[0].offer();
      EXPECT_EQ(fixture_.life->outstanding(0), count(i)) << "offered, and nobody was told";
    }
    fixture_.driver->kick(0);
    ASSERT_TRUE(eventually([&] { return fixture_.echo->held == 2; }));
    EXPECT_EQ(fixture_.life->outstanding(0), count(2));
    EXPECT_EQ(fixture_.life->outstanding(1), count(0));
    fixture_.echo->release();
    EXPECT_TRUE(fixture_.reap(0));
    EXPECT_TRUE(fixture_.reap(0));
    EXPECT_EQ(fixture_.life->outstanding(0), count(0));
  }
}

TEST_P(NotifyChangeTest, DoesNotWaitForeverForRequestsUnderWay) {
  ASSERT_TRUE(fixture_.bring_up());
  fixture_.echo->hold = true;
  fixture_.add(0, 3);
  if (fixture_.rings[0].offer()) fixture_.driver->kick(0);
  ASSERT_TRUE(eventually([&] { return fixture_.echo->held == 1; }));
  for (const NotifyMode mode : {NotifyMode::kSync, NotifyMode::kPoll}) {
    EXPECT_FALSE(fixture_.life->change_notify(0, mode, 1ms));
    EXPECT_EQ(fixture_.life->notify_mode(0), NotifyMode::kIoEventFd);
  }
  // It goes on: what comes now is taken, and what was under way is answered.
  fixture_.add(0, 4);
  if (fixture_.rings[0].offer()) fixture_.driver->kick(0);
  EXPECT_TRUE(eventually([&] { return fixture_.echo->held == 2; }));
  fixture_.echo->release();
  EXPECT_TRUE(fixture_.reap(0));
  EXPECT_TRUE(fixture_.reap(0));
  EXPECT_TRUE(change(NotifyMode::kSync));
  EXPECT_TRUE(fixture_.echoes(0, 5));
  // And back, with an ioeventfd that had been armed for it already.
  fixture_.echo->hold = true;
  fixture_.add(0, 6);
  if (fixture_.rings[0].offer()) fixture_.driver->kick(0);
  ASSERT_TRUE(eventually([&] { return fixture_.echo->held == 1; }));
  EXPECT_FALSE(fixture_.life->change_notify(0, NotifyMode::kIoEventFd, 1ms));
  EXPECT_TRUE(kicks_by_exit(0));
  fixture_.echo->release();
  EXPECT_TRUE(fixture_.reap(0));
  EXPECT_TRUE(fixture_.echoes(0, 7));
}

TEST_P(NotifyChangeTest, WithoutAnIoEventFdItStaysSynchronous) {
  fixture_.vm.set_max_ioeventfds(0);
  ASSERT_TRUE(fixture_.bring_up());
  EXPECT_EQ(fixture_.life->notify_mode(0), NotifyMode::kSync);
  EXPECT_FALSE(change(NotifyMode::kIoEventFd));
  EXPECT_EQ(fixture_.life->notify_mode(0), NotifyMode::kSync);
  EXPECT_TRUE(fixture_.echoes(0, 1));
  // Looking needs none.
  EXPECT_TRUE(change(NotifyMode::kPoll));
  EXPECT_TRUE(fixture_.echoes(0, 2));
  EXPECT_TRUE(kicks_by_exit(0));
  EXPECT_TRUE(change(NotifyMode::kSync));
  EXPECT_TRUE(fixture_.echoes(0, 3));
}

TEST_P(NotifyChangeTest, ATunerTriesWhatCanBeHad) {
  fixture_.vm.set_max_ioeventfds(0);
  ASSERT_TRUE(fixture_.bring_up());
  const auto tuner = testing::must(NotifyTuner::create());
  tuner->add(*fixture_.life);
  std::uint8_t value = 0;
  EXPECT_TRUE(eventually([&] {
    EXPECT_TRUE(fixture_.echoes(0, ++value));
    EXPECT_NE(fixture_.life->notify_mode(0), NotifyMode::kIoEventFd);
    return fixture_.life->notify_mode(0) == NotifyMode::kPoll || HasFailure();
  }));
}

TEST_P(NotifyChangeTest, GivesItsIoEventFdBack) {
  ASSERT_TRUE(fixture_.bring_up());
  const std::size_t before = fixture_.vm.ioeventfds().size();
  ASSERT_TRUE(change(NotifyMode::kSync));
  EXPECT_EQ(fixture_.vm.ioeventfds().size(), before - before / TransportFixture::kQueues);
  ASSERT_TRUE(change(NotifyMode::kIoEventFd));
  EXPECT_EQ(fixture_.vm.ioeventfds().size(), before);
}

TEST_P(NotifyChangeTest, OnlyWhatRunsChanges) {
  EXPECT_FALSE(change(NotifyMode::kSync));  // no driver yet
  ASSERT_TRUE(fixture_.bring_up());
  EXPECT_FALSE(change(NotifyMode::kSync, TransportFixture::kQueues));
  fixture_.life->pause();
  EXPECT_FALSE(change(NotifyMode::kSync));
  fixture_.life->resume();
  EXPECT_TRUE(change(NotifyMode::kSync));
  fixture_.life->pause();
  fixture_.life->resume();
  EXPECT_EQ(fixture_.life->notify_mode(0), NotifyMode::kSync);
  EXPECT_TRUE(fixture_.echoes(0, 1));
  EXPECT_TRUE(fixture_.works_after_reset());
  EXPECT_EQ(fixture_.life->notify_mode(0), NotifyMode::kIoEventFd);
}

TEST_P(NotifyChangeTest, ADeviceThatIsNotAdaptiveDoesNotChange) {
  TransportFixture fixed(GetParam(), NotifyMode::kIoEventFd);
  ASSERT_TRUE(fixed.bring_up());
  EXPECT_FALSE(fixed.life->change_notify(0, NotifyMode::kSync, kPatience));
  EXPECT_EQ(fixed.life->notify_mode(0), NotifyMode::kIoEventFd);
}

TEST_P(NotifyChangeTest, NothingIsLostWhileItChanges) {
  ASSERT_TRUE(fixture_.bring_up());
  constexpr unsigned kRequests = 3000;
  std::atomic<bool> done{false};
  unsigned changes = 0;
  std::thread changer([&] {
    for (std::size_t i = 0; !done; ++i) {
      if (change(kModes[i * 7 % 5 % 3])) ++changes;
      if (i % 16 == 0) {
        fixture_.life->pause();
        fixture_.life->resume();
      }
    }
  });
  unsigned answered = 0;
  for (unsigned i = 0; i < kRequests; ++i) {
    if (!fixture_.echoes(0, static_cast<std::uint8_t>(i))) break;
    ++answered;
  }
  done = true;
  changer.join();
  EXPECT_EQ(answered, kRequests);
  EXPECT_GT(changes, 0U);
  EXPECT_EQ(fixture_.life->counters(0).completions.get(), kRequests);
}

/// A device whose queues are set to other ways of notification while it runs, by commands.
class NotifySetTest : public NotifyModeTest {
 protected:
  NotifySetTest() : NotifyModeTest(NotifyMode::kIoEventFd) {}
  Status set(NotifyMode mode, unsigned queue = 0) {
    return fixture_.life->set_notify(queue, {.mode = mode}, kPatience);
  }
};

TEST_P(NotifySetTest, EveryWayServesAfterEveryOther) {
  ASSERT_TRUE(fixture_.bring_up());
  constexpr std::array kAll = {NotifyMode::kSync, NotifyMode::kPoll, NotifyMode::kAdaptive,
                               NotifyMode::kIoEventFd};
  std::uint8_t value = 0;
  for (const NotifyMode from : kAll) {
    for (const NotifyMode to : kAll) {
      ASSERT_TRUE(set(from));
      ASSERT_TRUE(fixture_.echoes(0, ++value));
      const NotifyMode before = fixture_.life->notify_mode(0);
      ASSERT_TRUE(set(to));
      EXPECT_EQ(fixture_.life->notify_mode(0), to == NotifyMode::kAdaptive ? before : to);
      EXPECT_EQ(fixture_.life->notify_wish(0).mode, to);
      EXPECT_EQ(fixture_.life->adaptive(), to == NotifyMode::kAdaptive);
      ASSERT_TRUE(fixture_.echoes(0, ++value)) << to_string(from) << " to " << to_string(to);
      EXPECT_EQ(kicks_by_exit(0), fixture_.life->notify_mode(0) == NotifyMode::kSync);
      ASSERT_TRUE(fixture_.echoes(1, ++value));  // the other queue is as it was
      EXPECT_FALSE(kicks_by_exit(1));
    }
  }
  EXPECT_EQ(fixture_.life->guest_faults(), 0U);
}

TEST_P(NotifySetTest, HoldsFromTheNextStartOnAndAfterAReset) {
  ASSERT_TRUE(set(NotifyMode::kSync));  // no driver yet
  ASSERT_TRUE(fixture_.bring_up());
  EXPECT_EQ(fixture_.life->notify_mode(0), NotifyMode::kSync);
  EXPECT_EQ(fixture_.life->notify_mode(1), NotifyMode::kIoEventFd);
  EXPECT_TRUE(fixture_.echoes(0, 1));
  EXPECT_TRUE(kicks_by_exit(0));
  EXPECT_TRUE(fixture_.works_after_reset());
  EXPECT_EQ(fixture_.life->notify_mode(0), NotifyMode::kSync);
  ASSERT_TRUE(set(NotifyMode::kAdaptive));
  EXPECT_TRUE(fixture_.works_after_reset());
  EXPECT_EQ(fixture_.life->notify_mode(0), NotifyMode::kIoEventFd) << "where adaptive begins";
  EXPECT_TRUE(fixture_.life->change_notify(0, NotifyMode::kPoll, kPatience));
  EXPECT_FALSE(fixture_.life->change_notify(1, NotifyMode::kPoll, kPatience));
}

TEST_P(NotifySetTest, APausedQueueGoesOnInTheNewWay) {
  ASSERT_TRUE(fixture_.bring_up());
  for (const NotifyMode mode : kModes) {
    fixture_.life->pause();
    ASSERT_TRUE(set(mode));
    fixture_.add(0, 9);
    if (fixture_.rings[0].offer()) fixture_.driver->kick(0);
    fixture_.life->resume();
    EXPECT_EQ(fixture_.life->notify_mode(0), mode);
    EXPECT_TRUE(fixture_.reap(0)) << to_string(mode);
    EXPECT_TRUE(fixture_.echoes(0, 10));
    EXPECT_EQ(kicks_by_exit(0), mode == NotifyMode::kSync);
  }
}

TEST_P(NotifySetTest, WhatIsRefusedChangesNothing) {
  ASSERT_TRUE(fixture_.bring_up());
  const auto none = set(NotifyMode::kSync, TransportFixture::kQueues);
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().code, ENOENT);
  fixture_.echo->hold = true;
  fixture_.add(0, 3);
  if (fixture_.rings[0].offer()) fixture_.driver->kick(0);
  ASSERT_TRUE(eventually([&] { return fixture_.echo->held == 1; }));
  const auto busy = fixture_.life->set_notify(0, {.mode = NotifyMode::kSync}, 1ms);
  ASSERT_FALSE(busy);
  EXPECT_EQ(busy.error().code, EBUSY);
  EXPECT_EQ(fixture_.life->notify_wish(0).mode, NotifyMode::kIoEventFd);
  fixture_.echo->release();
  EXPECT_TRUE(fixture_.reap(0));
  fixture_.echo->refuse_sharing = true;
  EXPECT_FALSE(set(NotifyMode::kSync));
  EXPECT_EQ(fixture_.life->notify_mode(0), NotifyMode::kIoEventFd);
  EXPECT_TRUE(fixture_.echoes(0, 4));
  EXPECT_FALSE(kicks_by_exit(0));
  fixture_.echo->refuse_sharing = false;
  ASSERT_TRUE(set(NotifyMode::kSync));
  fixture_.vm.set_max_ioeventfds(0);
  EXPECT_FALSE(set(NotifyMode::kIoEventFd));
  EXPECT_EQ(fixture_.life->notify_wish(0).mode, NotifyMode::kSync);
  EXPECT_TRUE(fixture_.echoes(0, 5));
}

TEST_P(NotifySetTest, AnOffloadedQueueStaysAsItIs) {
  fixture_.echo->wants = Server::kKernel;
  for (const bool started : {false, true}) {
    if (started) {
      ASSERT_TRUE(fixture_.bring_up());
    }
    const auto refused = set(NotifyMode::kSync);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, ENOTSUP);
  }
  EXPECT_TRUE(fixture_.echoes(0, 1));
}

TEST_P(NotifySetTest, NothingIsLostWhileItIsSet) {
  ASSERT_TRUE(fixture_.bring_up());
  constexpr unsigned kRequests = 2000;
  std::atomic<bool> done{false};
  unsigned changes = 0;
  std::thread changer([&] {
    for (std::size_t i = 0; !done; ++i) {
      if (i % 16 == 0) fixture_.life->pause();
      if (set(kNotifyModes[i * 7 % 5 % 4])) ++changes;
      if (i % 16 == 0) fixture_.life->resume();
    }
  });
  unsigned answered = 0;
  for (unsigned i = 0; i < kRequests; ++i) {
    if (!fixture_.echoes(0, static_cast<std::uint8_t>(i))) break;
    ++answered;
  }
  done = true;
  changer.join();
  EXPECT_EQ(answered, kRequests);
  EXPECT_GT(changes, 0U);
  EXPECT_EQ(fixture_.life->counters(0).completions.get(), kRequests);
}

std::string transport_name(const ::testing::TestParamInfo<Kind>& one) {
  if (one.param == Kind::kMmio) return "mmio";
  return one.param == Kind::kPci ? "pci" : "transitional";
}
INSTANTIATE_TEST_SUITE_P(Transports, NotifyChangeTest,
                         ::testing::Values(Kind::kPci, Kind::kPciTransitional, Kind::kMmio),
                         transport_name);
INSTANTIATE_TEST_SUITE_P(Transports, NotifySetTest,
                         ::testing::Values(Kind::kPci, Kind::kPciTransitional, Kind::kMmio),
                         transport_name);

}  // namespace
}  // namespace bellhop
