#include "virtio/queue/request_trace.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <thread>

#include "testing/test_memory.h"
#include "virtio/abi/ring.h"
#include "virtio/abi/stamps.h"
#include "virtio/queue/step_clock.h"

namespace bellhop {
namespace {

using Point = RequestPoint;

class RequestTraceTest : public ::testing::Test {
 protected:
  static constexpr std::uint16_t kSize = 8;
  static constexpr std::uint64_t kAhead = std::uint64_t{1} << 62;

  /// What a queue does with a request.
  void answer(std::uint16_t head) {
    trace.served();
    trace.taken(head);
    trace.submitting();
    trace.done(head);
    trace.shown();
    trace.signalled();
    trace.left();
  }
  void write_table(std::uint64_t magic, std::uint64_t entries) {
    ASSERT_TRUE(table().store(0, virtio::StampsHeader{magic, entries}));
  }
  void offered(std::uint16_t head, std::uint64_t at) {
    ASSERT_TRUE(table().store(entry(head), at + kAhead));
  }
  void seen(std::uint16_t head, std::uint64_t at) {
    ASSERT_TRUE(table().store(entry(head) + sizeof(std::uint64_t), at + kAhead));
  }
  /// A driver that leaves stamps.
  void start_with_stamps() {
    write_table(virtio::kStampsMagic, kSize);
    trace.set_driver_clock(kAhead);
    trace.start(memory, ring, {});
  }
  static void expect_in_order(const RequestLife& life) {
    EXPECT_TRUE(std::ranges::is_sorted(life.at)) << "a point that lies before the one before it";
  }

  GuestMemory memory = testing::make_memory();
  QueueConfig ring{.size = kSize,
                   .ready = true,
                   .desc = GuestAddress(0x1000),
                   .driver = GuestAddress(0x2000),
                   .device = GuestAddress(0x3000)};
  RequestTrace trace{kSize};

 private:
  static std::size_t entry(std::uint16_t head) {
    return sizeof(virtio::StampsHeader) + head * sizeof(virtio::Stamps);
  }
  [[nodiscard]] GuestSpan table() const {
    const std::uint64_t end = ring.device.value() + virtio::used_ring_bytes(kSize);
    const GuestAddress at((end + virtio::kStampsAlign - 1) / virtio::kStampsAlign *
                          virtio::kStampsAlign);
    return *memory.span(at, virtio::stamps_bytes(kSize));
  }
};

TEST_F(RequestTraceTest, WithoutTheDriverTheWayIsFromServedToSignalled) {
  trace.start(memory, ring, {});
  for (std::uint16_t i = 0; i < 3; ++i) answer(i);
  const RequestTimes times = trace.take();
  EXPECT_EQ(times.requests, 3U);
  EXPECT_EQ(times.by_driver, 0U);
  EXPECT_EQ(times.total.count(), 3U);
  for (std::size_t step = 0; step < kRequestSteps; ++step) {
    const bool known = step != 0 && step != kRequestSteps - 1;
    EXPECT_EQ(times.steps[step].count(), known ? 3U : 0U) << step;
  }
  ASSERT_EQ(times.last.size(), 3U);
  EXPECT_EQ(times.last[0][Point::kOffered], 0U);
  EXPECT_EQ(times.last[0][Point::kSeen], 0U);
  EXPECT_LE(times.last[0][Point::kServed], times.last[0][Point::kSignalled]);
  EXPECT_EQ(trace.take().requests, 0U) << "taken once";
}

TEST_F(RequestTraceTest, ABatchHasItsStampsTogether) {
  trace.start(memory, ring, {});
  trace.served();
  for (std::uint16_t i = 0; i < 4; ++i) trace.taken(i);
  trace.submitting();
  for (std::uint16_t i = 0; i < 4; ++i) trace.done(i);
  trace.shown();
  trace.signalled();
  const RequestTimes times = trace.take();
  ASSERT_EQ(times.last.size(), 4U);
  for (const Point point : {Point::kServed, Point::kSubmitted, Point::kShown, Point::kSignalled}) {
    EXPECT_EQ(times.last[0][point], times.last[3][point]);
  }
  EXPECT_LT(times.last[0][Point::kTaken], times.last[3][Point::kTaken]);
  EXPECT_LT(times.last[0][Point::kAnswered], times.last[3][Point::kAnswered]);
}

TEST_F(RequestTraceTest, WhatIsAnsweredWithoutTheBackEndWasNeverWithIt) {
  trace.start(memory, ring, {});
  trace.served();
  trace.taken(1);
  trace.done(1);
  trace.submitting();
  trace.shown();
  trace.signalled();
  const RequestTimes times = trace.take();
  ASSERT_EQ(times.requests, 1U);
  EXPECT_EQ(times.last[0][Point::kSubmitted], times.last[0][Point::kAnswered]);
}

TEST_F(RequestTraceTest, WhatIsPutBackCountsWhenItIsTakenAgain) {
  trace.start(memory, ring, {});
  trace.served();
  trace.taken(5);
  trace.rewound(5);
  trace.submitting();
  trace.shown();
  trace.signalled();
  EXPECT_EQ(trace.take().requests, 0U);
  answer(5);
  EXPECT_EQ(trace.take().requests, 1U);
}

TEST_F(RequestTraceTest, TheDriverAddsBothEnds) {
  start_with_stamps();
  const std::uint64_t before = read_time_stamp();
  offered(2, before);
  answer(2);
  seen(2, read_time_stamp());
  const RequestTimes times = trace.take();
  ASSERT_EQ(times.requests, 1U);
  EXPECT_EQ(times.by_driver, 1U);
  EXPECT_EQ(times.disordered, 0U);
  EXPECT_EQ(times.last[0][Point::kOffered], before);
  expect_in_order(times.last[0]);
  for (const Histogram& step : times.steps) EXPECT_EQ(step.count(), 1U);
}

TEST_F(RequestTraceTest, AnAnswerWaitsUntilTheDriverHasSeenIt) {
  start_with_stamps();
  seen(2, read_time_stamp());  // of the request before
  offered(2, read_time_stamp());
  answer(2);
  EXPECT_EQ(trace.take().requests, 0U);
  seen(2, read_time_stamp());
  offered(2, read_time_stamp());
  answer(2);  // the entry is used again: it was seen before that
  EXPECT_EQ(trace.take().requests, 1U);
}

TEST_F(RequestTraceTest, AThreadThatWasThereAlreadyFindsARequestAtOnce) {
  start_with_stamps();
  trace.served();
  const std::uint64_t at = read_time_stamp();
  offered(0, at);
  trace.taken(0);
  trace.submitting();
  trace.done(0);
  trace.shown();
  trace.signalled();
  seen(0, read_time_stamp());
  const RequestTimes times = trace.take();
  ASSERT_EQ(times.requests, 1U);
  EXPECT_EQ(times.last[0][Point::kServed], at);
}

TEST_F(RequestTraceTest, ADriverThatLooksMayBeQuickerThanOurNextStep) {
  start_with_stamps();
  offered(0, read_time_stamp());
  trace.served();
  trace.taken(0);
  trace.submitting();
  trace.done(0);
  const std::uint64_t at = read_time_stamp();
  seen(0, at);
  trace.shown();
  trace.signalled();
  const RequestTimes times = trace.take();
  ASSERT_EQ(times.requests, 1U);
  EXPECT_EQ(times.last[0][Point::kShown], at);
  EXPECT_EQ(times.last[0][Point::kSignalled], at);
  expect_in_order(times.last[0]);
}

TEST_F(RequestTraceTest, WhatCannotBeIsLeftOut) {
  start_with_stamps();
  const std::uint64_t now = read_time_stamp();
  offered(0, now + (std::uint64_t{1} << 50));  // after it was taken
  answer(0);
  RequestTimes times = trace.take();
  EXPECT_EQ(times.requests, 1U) << "our own points stand";
  EXPECT_EQ(times.by_driver, 0U);
  EXPECT_EQ(times.disordered, 1U);
  offered(1, now);
  answer(1);
  seen(1, now);  // before it was answered
  times = trace.take();
  EXPECT_EQ(times.requests, 1U);
  EXPECT_EQ(times.by_driver, 0U);
  EXPECT_EQ(times.disordered, 1U);
  offered(1, now);
  answer(1);
  seen(1, now + (std::uint64_t{1} << 50));  // in a time to come
  times = trace.take();
  EXPECT_EQ(times.requests, 1U);
  EXPECT_EQ(times.by_driver, 0U);
  EXPECT_EQ(times.disordered, 1U);
}

TEST_F(RequestTraceTest, OnlyATableOfThisRingIsBelieved) {
  trace.set_driver_clock(kAhead);
  const auto stamped = [this] {
    trace.start(memory, ring, {});
    offered(0, read_time_stamp());
    answer(0);
    seen(0, read_time_stamp());
    return trace.take().by_driver;
  };
  write_table(virtio::kStampsMagic + 1, kSize);
  EXPECT_EQ(stamped(), 0U);
  write_table(virtio::kStampsMagic, kSize * 2);
  EXPECT_EQ(stamped(), 0U);
  write_table(virtio::kStampsMagic, kSize);
  EXPECT_EQ(stamped(), 1U);
  // At the end of RAM there is no room for one.
  ring.device = GuestAddress((std::uint64_t{16} << 20) - virtio::used_ring_bytes(kSize) - 2);
  trace.start(memory, ring, {});
  answer(0);
  EXPECT_EQ(trace.take().by_driver, 0U);
}

TEST_F(RequestTraceTest, WithoutTheDriversClockItsStampsAreNotLookedAt) {
  write_table(virtio::kStampsMagic, kSize);
  trace.start(memory, ring, {});
  offered(0, read_time_stamp());
  answer(0);
  const RequestTimes times = trace.take();
  EXPECT_EQ(times.requests, 1U);
  EXPECT_EQ(times.by_driver + times.disordered, 0U);
}

TEST_F(RequestTraceTest, TheLastRequestsAreKeptTheOldestFirst) {
  trace.start(memory, ring, {});
  const std::uint64_t begin = read_time_stamp();
  for (int i = 0; i < 100; ++i) answer(0);
  const std::uint64_t later = read_time_stamp();
  for (std::size_t i = 0; i < RequestTrace::kLastRequests; ++i) answer(1);
  const RequestTimes times = trace.take();
  EXPECT_EQ(times.requests, 100 + RequestTrace::kLastRequests);
  ASSERT_EQ(times.last.size(), RequestTrace::kLastRequests);
  EXPECT_GT(times.last.front()[Point::kServed], later) << "the first hundred are gone";
  for (std::size_t i = 1; i < times.last.size(); ++i) {
    ASSERT_LT(times.last[i - 1][Point::kServed], times.last[i][Point::kServed]) << i;
  }
  EXPECT_LT(begin, later);
}

/// Uses the CPU for so long, by the thread's own clock.
void work(std::uint64_t nanoseconds) {
  const std::uint64_t begin = StepClock::read_thread_clock();
  while (StepClock::read_thread_clock() - begin < nanoseconds) {
  }
}

// A thread of their own, so that its clock has let nothing by yet.
TEST_F(RequestTraceTest, CpuTimeGoesToTheStepThatUsedIt) {
  constexpr std::uint64_t kLong = 100'000;  // beside which nothing else counts
  trace.start(memory, ring, {});
  std::thread([this] {
    for (int i = 0; i < 500; ++i) {
      trace.served();
      trace.taken(0);
      trace.submitting();
      work(kLong);
      trace.done(0);
      trace.shown();
      trace.signalled();
      trace.left();
    }
    trace.stopped();
  }).join();
  const StepCpu cpu = trace.take().cpu;
  ASSERT_GT(cpu.answered, 0U);
  EXPECT_LT(cpu.answered, 500U) << "one burst in so many";
  const auto of = [&cpu](Point point) { return cpu.ns[static_cast<std::size_t>(point)]; };
  const auto answered = static_cast<std::int64_t>(cpu.answered);
  EXPECT_GE(of(Point::kSubmitted), static_cast<std::int64_t>(kLong) * answered * 9 / 10);
  EXPECT_LT(of(Point::kServed) + of(Point::kTaken) + of(Point::kAnswered) + of(Point::kShown),
            of(Point::kSubmitted));
}

/// Between two drains a vCPU runs its guest, an I/O thread looks for work.
TEST_F(RequestTraceTest, WhatAVcpuDoesBetweenDrainsIsItsGuests) {
  for (const Drain drain : {Drain::kByVcpu, Drain::kByIoThread}) {
    trace.set_drain(drain);
    trace.start(memory, ring, {});
    std::thread([this] {
      for (int i = 0; i < 500; ++i) {
        answer(0);
        work(20'000);
      }
      trace.stopped();
    }).join();
    const StepCpu cpu = trace.take().cpu;
    ASSERT_GT(cpu.answered, 0U);
    std::int64_t all = 0;
    for (const std::int64_t ns : cpu.ns) all += ns;
    const auto between = static_cast<std::int64_t>(20'000 * cpu.answered * 8 / 10);
    if (drain == Drain::kByVcpu) {
      EXPECT_EQ(cpu.ns[static_cast<std::size_t>(Point::kOffered)], 0);
      EXPECT_LT(all, between);
    } else {
      EXPECT_GE(cpu.ns[static_cast<std::size_t>(Point::kOffered)], between);
    }
  }
}

/// An id of a packed ring, or a hostile one, is any number.
TEST_F(RequestTraceTest, NoHeadReachesPastTheTable) {
  start_with_stamps();
  for (unsigned head = 0; head <= UINT16_MAX; head += 257) {
    answer(static_cast<std::uint16_t>(head));
    trace.rewound(static_cast<std::uint16_t>(head));
    trace.done(static_cast<std::uint16_t>(head));
  }
  EXPECT_GT(trace.take().requests, 0U);
}

}  // namespace
}  // namespace bellhop
