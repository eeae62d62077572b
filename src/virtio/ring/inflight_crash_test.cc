// A server that is killed after any of its stores, and the one that comes after it: whatever was in
// flight is done once as the driver sees it, in the order in which it was offered, and the ring
// goes on. The stores are those of the machine, so that what the compiler makes of the code is
// tried.

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <bit>
#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "testing/fake_driver.h"
#include "testing/store_watch.h"
#include "testing/test_memory.h"
#include "virtio/ring/ring.h"

namespace bellhop {
namespace {

using testing::FakeDriver;
using testing::must;

constexpr std::uint64_t kPage = 4096;
constexpr GuestAddress kCrashRingAt{0x10000};
constexpr std::uint64_t kRingBytes = 2 * kPage;
constexpr GuestAddress kNotesAt{0x20000};
constexpr std::uint64_t kNotesBytes = kPage;
constexpr std::uint64_t kData = 0x100000;

struct Shape {
  std::uint16_t size;
  bool packed;
  bool indirect;
  unsigned buffers;  ///< of the largest chain
  bool in_order = false;
};

class InflightCrashTest : public ::testing::TestWithParam<Shape> {
 protected:
  void SetUp() override {
#ifdef BELLHOP_UNDER_TSAN
    GTEST_SKIP() << "there is one thread, and steps go by the sanitizer's own stores";
#endif
  }
  /// The driver, and what it waits for, in the order in which it was offered.
  struct Driver {
    FakeDriver ring;
    std::deque<std::uint16_t> waits;
    unsigned offered = 0;

    void offer(unsigned buffers) {
      std::vector<DriverBuffer> chain;
      for (unsigned i = 0; i < buffers; ++i) {
        chain.push_back({GuestAddress(kData + 64 * i), 64, i + 1 == buffers});
      }
      const auto head = ring.add(chain);
      if (!head) return;
      (void)ring.offer();
      waits.push_back(*head);
      ++offered;
    }
    /// All that is done: false if one is that was not asked for, or a second time.
    bool reap() {
      while (const auto used = ring.reap()) {
        const auto found = std::ranges::find(waits, used->id);
        if (found == waits.end()) return false;
        waits.erase(found);
      }
      return true;
    }
  };
  struct Crash {
    std::vector<std::byte> ring;
    std::vector<std::byte> notes;
  };

  [[nodiscard]] std::span<std::byte> bytes(GuestAddress at, std::uint64_t size) const {
    return {static_cast<std::byte*>(memory.span(at, size)->as_iovec().iov_base), size};
  }
  [[nodiscard]] std::span<std::byte> ring_bytes() const { return bytes(kCrashRingAt, kRingBytes); }
  [[nodiscard]] std::span<std::byte> notes_bytes() const { return bytes(kNotesAt, kNotesBytes); }
  [[nodiscard]] Crash now() const {
    return {{ring_bytes().begin(), ring_bytes().end()},
            {notes_bytes().begin(), notes_bytes().end()}};
  }
  void go_to(const Crash& crash) const {
    std::ranges::copy(crash.ring, ring_bytes().begin());
    std::ranges::copy(crash.notes, notes_bytes().begin());
  }
  [[nodiscard]] InflightQueue notes() const {
    return {.bytes = *memory.span(kNotesAt, inflight_queue_bytes(GetParam().packed, entries())),
            .entries = entries()};
  }
  /// A region may be for larger rings.
  [[nodiscard]] std::uint16_t entries() const {
    return static_cast<std::uint16_t>(GetParam().size + 3);
  }
  [[nodiscard]] Result<Ring> start(QueueCounters& counters) const {
    return Ring::activate(memory, driver.ring.config(), features, counters, RingState{}, notes());
  }
  /// What `code` leaves behind after each of its stores.
  template <class Code>
  std::vector<Crash> crashes_of(Code&& code) {
    std::vector<Crash> crashes;
    testing::StoreWatch watch({ring_bytes(), notes_bytes()}, [&] { crashes.push_back(now()); });
    watch.run(code);
    return crashes;
  }

  /// A device operation, killed after each of its stores; then it is done.
  template <class Code>
  void step(Code&& code) {
    const auto crashes = crashes_of(code);
    const Crash done = now();
    const Driver before = driver;
    for (const Crash& crash : crashes) {
      for (const bool driver_first : {false, true}) {
        go_to(crash);
        driver = before;
        if (driver_first) {
          // It may have seen what was shown, and have offered the same places again.
          ASSERT_TRUE(driver.reap());
          driver.offer(GetParam().buffers);
          driver.offer(1);
        }
        ASSERT_NO_FATAL_FAILURE(expect_recovery());
        ++tried;
      }
    }
    go_to(done);
    driver = before;
  }

  /// Recovery is killed, too, after each of its stores; and begun again.
  void expect_recovery() {
    const Crash crash = now();
    const Driver before = driver;
    QueueCounters counters;
    const auto crashes = crashes_of([&] { must(start(counters)); });
    for (const Crash& second : crashes) {
      go_to(second);
      driver = before;
      ASSERT_NO_FATAL_FAILURE(expect_service());
      ++tried;
    }
    go_to(crash);
    driver = before;
    ASSERT_NO_FATAL_FAILURE(expect_service());
  }

  /// Whoever serves the ring now gives what the driver waits for, in order, each once; done in
  /// another order, it comes to the driver, and so does what follows.
  void expect_service() {
    QueueCounters counters;
    Ring ring = must(start(counters));
    ASSERT_TRUE(driver.reap()) << "done before the crash, and shown";
    ASSERT_NO_FATAL_FAILURE(expect_waiting(ring));
    for (unsigned round = 0; round < 3; ++round) {
      driver.offer(GetParam().buffers);
      driver.offer(1);
      ASSERT_NO_FATAL_FAILURE(expect_waiting(ring));
    }
    EXPECT_TRUE(notes().idle(GetParam().packed));
  }
  void expect_waiting(Ring& ring) {
    std::deque<DescriptorChain> chains(driver.waits.size());
    for (std::size_t i = 0; i < chains.size(); ++i) {
      ASSERT_TRUE(ring.has_available());
      ASSERT_EQ(ring.pop(chains[i]), Pop::kChain);
      EXPECT_EQ(chains[i].head(), driver.waits[i]);
    }
    DescriptorChain none;
    EXPECT_EQ(ring.pop(none), Pop::kEmpty);
    for (auto chain = chains.rbegin(); chain != chains.rend(); ++chain) ring.complete(*chain, 1);
    (void)ring.publish();
    ASSERT_TRUE(driver.reap());
    ASSERT_TRUE(driver.waits.empty()) << "lost: " << driver.waits.front();
  }

  RingFeatures features{.indirect = GetParam().indirect,
                        .packed = GetParam().packed,
                        .in_order = GetParam().in_order};
  GuestMemory memory = testing::make_memory();
  Driver driver{{memory, kCrashRingAt, GetParam().size, features}, {}, 0};
  unsigned tried = 0;
};

INSTANTIATE_TEST_SUITE_P(Rings, InflightCrashTest,
                         ::testing::Values(Shape{8, false, false, 2}, Shape{4, false, true, 3},
                                           Shape{8, true, false, 2}, Shape{5, true, false, 2},
                                           Shape{4, true, true, 3}, Shape{2, true, false, 2},
                                           Shape{3, true, false, 3},
                                           Shape{8, false, false, 2, true},
                                           Shape{5, true, false, 2, true}),
                         [](const auto& shape) {
                           return std::string(shape.param.packed ? "packed" : "split") +
                                  (shape.param.indirect ? "_indirect_" : "_direct_") +
                                  std::to_string(shape.param.size) +
                                  (shape.param.in_order ? "_in_order" : "");
                         });

TEST_P(InflightCrashTest, KilledAfterEachStoreNothingIsLostNorDoneTwice) {
  QueueCounters counters;
  std::optional<Ring> ring;
  driver.offer(1);  // before anybody serves it
  step([&] { ring.emplace(must(start(counters))); });
  // Until every index has wrapped, at every place.
  for (unsigned round = 0; round < 7; ++round) {
    while (driver.ring.free_descriptors() != 0 && driver.waits.size() < 4) {
      const auto before = driver.offered;
      driver.offer((round + driver.offered) % 2 == 0 ? GetParam().buffers : 1);
      if (driver.offered == before) driver.offer(1);
      if (driver.offered == before) break;
    }
    std::array<DescriptorChain, 4> chains;
    std::size_t taken = 0;
    const auto pop = [&] {
      step([&] {
        if (ring->pop(chains[taken]) == Pop::kChain) ++taken;
      });
    };
    for (std::size_t i = 0; i < chains.size() && ring->has_available(); ++i) pop();
    ASSERT_GT(taken, 0U);
    const auto complete = [&](std::size_t one) {
      step([&] { ring->complete(chains[one], one % 2 == 0 ? 1 : 0); });
    };
    if (taken > 2) {
      // Out of order, and one that is put back meanwhile.
      complete(1);
      step([&] { ASSERT_TRUE(ring->rewind(chains[taken - 1])); });
      --taken;
      if (round % 2 == 0) step([&] { (void)ring->publish(); });
      pop();
    } else if (taken == 2) {
      complete(1);
    }
    for (std::size_t one = taken; one > 0; --one) {
      if (chains[one - 1].taken()) complete(one - 1);
      if (round % 3 == 0) step([&] { (void)ring->publish(); });
    }
    step([&] { (void)ring->publish(); });
    ASSERT_TRUE(driver.reap());
    ASSERT_TRUE(driver.waits.empty());
  }
  RecordProperty("crashes", static_cast<int>(tried));
  EXPECT_GT(tried, 500U);
}

TEST_P(InflightCrashTest, AServerThatTakesThemAgainIsKilledAsWell) {
  QueueCounters counters;
  std::optional<Ring> ring(must(start(counters)));
  driver.offer(GetParam().buffers);
  driver.offer(1);
  driver.offer(1);
  // One after the other takes what is there, puts the last one back, and dies.
  for (unsigned round = 0; round < 5; ++round) {
    std::array<DescriptorChain, 3> chains;
    std::size_t taken = 0;
    while (ring->has_available()) {
      step([&] {
        if (ring->pop(chains[taken]) == Pop::kChain) ++taken;
      });
    }
    ASSERT_EQ(taken, driver.waits.size());
    if (round % 2 == 1) step([&] { ASSERT_TRUE(ring->rewind(chains[--taken])); });
    for (std::size_t i = 0; i < chains.size(); ++i) {
      EXPECT_EQ(chains[i].taken(), i < taken);
      if (!chains[i].taken()) continue;
      // Dropped, as a dead process does: given back to a ring that nobody looks at any more.
      const Crash dead = now();
      ring->complete(chains[i], 0);
      go_to(dead);
    }
    step([&] { ring.emplace(must(start(counters))); });
  }
  expect_service();
}

TEST_P(InflightCrashTest, ARegionMayBeginOnARingThatHasWorked) {
  // Nothing has been completed since: the region knows the ring's index from its beginning.
  QueueCounters counters;
  RingState worked;
  {
    Ring ring = must(Ring::activate(memory, driver.ring.config(), features, counters));
    for (unsigned n = 0; n < 3; ++n) {
      driver.offer(1);
      ASSERT_NO_FATAL_FAILURE(expect_waiting(ring));
    }
    worked = ring.state();
  }
  std::optional<Ring> ring(
      must(Ring::activate(memory, driver.ring.config(), features, counters, worked, notes())));
  std::array<DescriptorChain, 2> chains;
  for (auto& chain : chains) {
    driver.offer(1);
    step([&] { ASSERT_EQ(ring->pop(chain), Pop::kChain); });
  }
  for (auto& chain : chains) ring->complete(chain, 0);
}

TEST_P(InflightCrashTest, ARegionOfNonsenseDoesNoHarm) {
  QueueCounters counters;
  Ring first = must(start(counters));
  for (unsigned i = 0; i < 3; ++i) driver.offer(1);
  std::array<DescriptorChain, 3> chains;
  std::size_t taken = 0;
  while (taken < driver.waits.size() && first.pop(chains[taken]) == Pop::kChain) ++taken;
  const Crash good = now();
  for (std::size_t i = 0; i < taken; ++i) first.complete(chains[i], 0);
  std::uint32_t random = 12345;
  const auto next = [&] { return random = random * 1664525 + 1013904223; };
  unsigned served = 0;
  for (unsigned round = 0; round < 20'000; ++round) {
    go_to(good);
    const auto all = bytes(kNotesAt, notes().bytes.size());
    for (unsigned spoilt = next() >> 30; spoilt <= 3; ++spoilt) {
      // Often what a field may hold nearly.
      const std::uint32_t value = next() >> 16;
      all[next() % all.size()] = static_cast<std::byte>(value % 2 == 0 ? value % 20 : value);
    }
    QueueCounters others;
    auto ring = start(others);
    if (!ring) continue;
    std::deque<DescriptorChain> again;
    while (true) {
      again.emplace_back();
      const Pop pop = ring->pop(again.back());
      if (pop != Pop::kChain && pop != Pop::kMalformed) break;
      ASSERT_LE(again.size(), 20U) << "more than the ring can hold";
    }
    for (auto& chain : again) {
      if (chain.taken()) ring->complete(chain, 0);
    }
    (void)ring->publish();
    ++served;
  }
  EXPECT_GT(served, 1000U);
}

TEST_P(InflightCrashTest, RegionsThatAreNotItsOwnAreRefused) {
  QueueCounters counters;
  must(start(counters));
  const Crash good = now();
  const auto all = notes_bytes();
  const auto expect_refused = [&](std::size_t at, std::uint8_t value) {
    go_to(good);
    all[at] = std::byte{value};
    EXPECT_FALSE(start(counters)) << at;
  };
  expect_refused(offsetof(InflightSplitHead, version), 2);
  expect_refused(offsetof(InflightSplitHead, features), 1);
  expect_refused(offsetof(InflightSplitHead, desc_num), 1);
  go_to(good);
  EXPECT_TRUE(start(counters));
  InflightQueue small = notes();
  small.entries = static_cast<std::uint16_t>(GetParam().size - 1);
  EXPECT_FALSE(Ring::activate(memory, driver.ring.config(), features, counters, {}, small));
}

}  // namespace
}  // namespace bellhop
