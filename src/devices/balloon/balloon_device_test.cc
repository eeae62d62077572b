#include "devices/balloon/balloon_device.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <numeric>

#include "devices/balloon/balloon_config.h"
#include "devices/balloon/balloon_queue.h"
#include "testing/allocation_counter.h"
#include "testing/device_fixture.h"
#include "testing/eventually.h"
#include "virtio/abi/balloon.h"
#include "virtio/abi/ring.h"

namespace bellhop {
namespace {

using testing::DeviceFixture;
using testing::eventually;
using namespace virtio;

constexpr GuestAddress kList{DeviceFixture::kBuffers};
constexpr std::uint64_t kMiB = std::uint64_t{1} << 20;
/// Pages that the tests give away and take back, far from rings and buffers.
constexpr std::uint32_t kFirst = 32 * kMiB / kBalloonPageBytes;

constexpr unsigned kInflate = kBalloonInflateQueue;
constexpr unsigned kDeflate = kBalloonDeflateQueue;

/// What the kernel says the memory takes.
std::uint64_t host_bytes(const GuestMemory& memory) {
  struct stat info {};
  EXPECT_EQ(::fstat(memory.regions().front().fd, &info), 0);
  return static_cast<std::uint64_t>(info.st_blocks) * 512;
}

bool is_resident(const GuestMemory& memory, std::uint64_t address) {
  unsigned char page = 0;
  const auto span = memory.span(GuestAddress(address), kBalloonPageBytes);
  EXPECT_EQ(::mincore(span->as_iovec().iov_base, kBalloonPageBytes, &page), 0);
  return (page & 1) != 0;
}

class BalloonDeviceTest : public ::testing::TestWithParam<NotifyMode> {
 protected:
  BalloonDeviceTest() : fixture(GetParam(), testing::make_memory(128 * kMiB)) {
    // Rings and lists: what changes from now on is the balloon's doing.
    fixture.memory.span(GuestAddress(0), 32 * kMiB)->fill(std::byte{0});
  }

  void serve(BalloonOptions options = {}) {
    fixture.serve(std::make_unique<BalloonDevice>(fixture.memory, std::move(options)));
    fixture.start();
  }
  static BalloonOptions everything() {
    return {.size = 8 * kMiB,
            .deflate_on_oom = true,
            .free_page_reporting = true,
            .stats_interval = std::chrono::milliseconds(20)};
  }
  [[nodiscard]] BalloonDevice& device() { return static_cast<BalloonDevice&>(*fixture.device); }

  /// Hands a list of page numbers to the device, and waits until it has it back.
  void list(unsigned queue, const std::vector<std::uint32_t>& numbers) {
    ASSERT_TRUE(fixture.memory.write(kList, std::as_bytes(std::span(numbers))));
    fixture.give(queue, {{kList, static_cast<std::uint32_t>(4 * numbers.size()), false}});
    const auto used = fixture.wait_used(queue);
    ASSERT_TRUE(used);
    EXPECT_EQ(used->length, 0U);
  }
  static std::vector<std::uint32_t> range(std::uint32_t first, std::uint32_t count) {
    std::vector<std::uint32_t> numbers(count);
    std::iota(numbers.begin(), numbers.end(), first);
    return numbers;
  }
  static std::uint64_t address(std::uint32_t page) { return page * kBalloonPageBytes; }
  void fill(std::uint32_t first, std::uint32_t count, std::byte value = std::byte{0x5a}) {
    fixture.memory.span(GuestAddress(address(first)), count * kBalloonPageBytes)->fill(value);
  }
  [[nodiscard]] bool reads(std::uint32_t first, std::uint32_t count, std::byte value) const {
    std::vector<std::byte> bytes(count * kBalloonPageBytes);
    EXPECT_TRUE(fixture.memory.read(GuestAddress(address(first)), bytes));
    return std::ranges::all_of(bytes, [value](std::byte byte) { return byte == value; });
  }
  /// After whatever a test did, a page goes and comes back.
  void expect_works() {
    fill(kFirst, 1);
    list(kInflate, {kFirst});
    EXPECT_FALSE(is_resident(fixture.memory, address(kFirst)));
    list(kDeflate, {kFirst});
    EXPECT_TRUE(reads(kFirst, 1, std::byte{0}));
  }

  DeviceFixture fixture;
};

TEST_P(BalloonDeviceTest, WhatIsInflatedLeavesTheHostAndComesBackAsZeros) {
  serve();
  constexpr std::uint32_t kPages = 256;
  fill(kFirst - 1, kPages + 2);
  const std::uint64_t before = host_bytes(fixture.memory);
  list(kInflate, range(kFirst, kPages));
  EXPECT_EQ(before - host_bytes(fixture.memory), kPages * kBalloonPageBytes);
  EXPECT_FALSE(is_resident(fixture.memory, address(kFirst)));
  EXPECT_FALSE(is_resident(fixture.memory, address(kFirst + kPages - 1)));
  EXPECT_TRUE(reads(kFirst - 1, 1, std::byte{0x5a})) << "its neighbours stay";
  EXPECT_TRUE(reads(kFirst + kPages, 1, std::byte{0x5a}));
  EXPECT_EQ(device().counters().inflated_pages.get(), kPages);
  EXPECT_EQ(fixture.stat("released_bytes"), kPages * kBalloonPageBytes);

  list(kDeflate, range(kFirst, kPages));
  EXPECT_EQ(device().counters().deflated_pages.get(), kPages);
  EXPECT_TRUE(reads(kFirst, kPages, std::byte{0}));
  fill(kFirst, kPages, std::byte{1});
  EXPECT_TRUE(reads(kFirst, kPages, std::byte{1}));
  EXPECT_EQ(device().counters().guest_faults.get(), 0U);
}

TEST_P(BalloonDeviceTest, ListsInAnyOrder) {
  serve();
  fill(kFirst, 64);
  auto down = range(kFirst, 64);
  std::ranges::reverse(down);
  const std::uint64_t before = host_bytes(fixture.memory);
  list(kInflate, down);
  EXPECT_EQ(before - host_bytes(fixture.memory), 64 * kBalloonPageBytes);
  fill(kFirst, 64);
  std::vector<std::uint32_t> every_other;
  for (std::uint32_t i = 0; i < 64; i += 2) every_other.push_back(kFirst + i);
  list(kInflate, every_other);
  EXPECT_EQ(before - host_bytes(fixture.memory), 32 * kBalloonPageBytes);
  EXPECT_TRUE(reads(kFirst + 1, 1, std::byte{0x5a}));
  list(kInflate, {kFirst, kFirst, kFirst});  // twice is no harm
  // A number cut in two by its buffers.
  fill(kFirst, 1);
  const std::array numbers{kFirst};
  ASSERT_TRUE(fixture.memory.write(kList, std::as_bytes(std::span(numbers))));
  fixture.give(kInflate, {{kList, 3, false}, {GuestAddress(kList.value() + 3), 1, false}});
  ASSERT_TRUE(fixture.wait_used(kInflate));
  EXPECT_FALSE(is_resident(fixture.memory, address(kFirst)));
  EXPECT_EQ(device().counters().guest_faults.get(), 0U);
}

TEST_P(BalloonDeviceTest, RangesDoNotReachOverTheEndsOfRegions) {
  serve();
  const auto low_end = static_cast<std::uint32_t>(128 * kMiB / kBalloonPageBytes);
  const auto high = static_cast<std::uint32_t>(testing::kHighBase / kBalloonPageBytes);
  fill(low_end - 1, 1);
  fill(high, 1);
  list(kInflate, {low_end - 1, low_end, high - 1, high});
  EXPECT_FALSE(is_resident(fixture.memory, address(low_end - 1)));
  EXPECT_FALSE(is_resident(fixture.memory, address(high)));
  EXPECT_EQ(device().counters().guest_faults.get(), 2U);
  EXPECT_EQ(device().counters().inflated_pages.get(), 2U);
}

TEST_P(BalloonDeviceTest, Row29PagesOutsideOfRam) {
  serve();
  const auto end = static_cast<std::uint32_t>(128 * kMiB / kBalloonPageBytes);
  const std::uint64_t before = host_bytes(fixture.memory);
  for (const unsigned queue : {kInflate, kDeflate}) {
    list(queue, {end, end + 1, 0xfffff, 0xfffffffe, 0xffffffff, 0, 0xffffffff});
  }
  EXPECT_EQ(device().counters().guest_faults.get(), 12U);
  EXPECT_EQ(device().counters().inflated_pages.get(), 1U) << "page 0 is RAM";
  EXPECT_LE(host_bytes(fixture.memory), before + kBalloonPageBytes);
  EXPECT_EQ(fixture.host->resets_needed(), 0);
  expect_works();
}

TEST_P(BalloonDeviceTest, Row29ListsOfAWrongSize) {
  serve();
  fill(kFirst, 2);
  const std::array numbers{kFirst, kFirst + 1};
  ASSERT_TRUE(fixture.memory.write(kList, std::as_bytes(std::span(numbers))));
  fixture.give(kInflate, {{kList, 7, false}});
  ASSERT_TRUE(fixture.wait_used(kInflate));
  EXPECT_FALSE(is_resident(fixture.memory, address(kFirst)));
  EXPECT_TRUE(is_resident(fixture.memory, address(kFirst + 1))) << "half a number is none";
  fixture.give(kInflate, {{kList, 3, false}});
  ASSERT_TRUE(fixture.wait_used(kInflate));
  fixture.give(kInflate, {{kList, 8, true}});
  ASSERT_TRUE(fixture.wait_used(kInflate));
  EXPECT_EQ(device().counters().guest_faults.get(), 3U);
  expect_works();
}

TEST_P(BalloonDeviceTest, Row29AListOfMillionsIsTakenInTurns) {
  serve();
  // A million numbers, twice, from buffers that lie on each other.
  constexpr std::uint32_t kBytes = 4 * kMiB;
  const auto numbers = range(kFirst, kBytes / 4);
  ASSERT_TRUE(fixture.memory.write(GuestAddress(kList), std::as_bytes(std::span(numbers))));
  const std::vector<testing::FakeDriver::Buffer> many(2, {kList, kBytes, false});
  ASSERT_TRUE(fixture.driver(kInflate).add(many));
  fixture.offer(kInflate);
  // Another queue of the thread is served meanwhile.
  const std::uint32_t one = kFirst;
  const GuestAddress elsewhere(kList.value() + kBytes);
  ASSERT_TRUE(fixture.memory.write(elsewhere, std::as_bytes(std::span(&one, 1))));
  fixture.give(kDeflate, {{elsewhere, 4, false}});
  ASSERT_TRUE(fixture.wait_used(kDeflate));
  fixture.pause_and_resume();
  ASSERT_TRUE(fixture.wait_used(kInflate));
  // RAM ends before the numbers do, and begins once more at 4 GiB.
  const std::uint64_t in_ram = 128 * kMiB / kBalloonPageBytes - kFirst + kMiB / kBalloonPageBytes;
  EXPECT_EQ(device().counters().inflated_pages.get(), 2 * in_ram);
  EXPECT_EQ(device().counters().guest_faults.get(), 2 * (kBytes / 4 - in_ram));
  expect_works();
}

TEST_P(BalloonDeviceTest, AResetInTheMiddleOfAList) {
  serve();
  constexpr std::uint32_t kBytes = kMiB;
  const auto numbers = range(kFirst, kBytes / 4);
  for (int i = 0; i < 20; ++i) {
    ASSERT_TRUE(fixture.memory.write(kList, std::as_bytes(std::span(numbers))));
    fixture.give(kInflate, {{kList, kBytes, false}});
    fixture.restart();
  }
  expect_works();
}

// Row 13a: the list that comes next is taken from its beginning.
TEST_P(BalloonDeviceTest, AQueueThatIsResetInTheMiddleOfAListBeginsAnew) {
  serve();
  constexpr std::uint32_t kBytes = 4 * kMiB;
  const auto numbers = range(kFirst, kBytes / 4);
  for (int i = 0; i < 20; ++i) {
    std::uint64_t before = device().counters().deflated_pages.get();
    ASSERT_TRUE(fixture.memory.write(kList, std::as_bytes(std::span(numbers))));
    fixture.give(kDeflate, {{kList, kBytes, false}});
    EXPECT_TRUE(eventually([&] { return device().counters().deflated_pages.get() != before; }));
    fixture.reset_queue(kDeflate);
    before = device().counters().deflated_pages.get();
    list(kDeflate, range(kFirst, 16));
    EXPECT_EQ(device().counters().deflated_pages.get() - before, 16U);
  }
  expect_works();
}

TEST_P(BalloonDeviceTest, TheRingItselfInTheBalloonBreaksOnlyTheRing) {
  serve();
  // The second list is found where the driver's index, or flag, reads 0 again.
  list(kInflate, {kFirst});
  const auto ring = static_cast<std::uint32_t>(fixture.driver(kInflate).config().driver.value() /
                                               kBalloonPageBytes);
  std::vector<std::uint32_t> pages = range(ring, 2);
  ASSERT_TRUE(fixture.memory.write(kList, std::as_bytes(std::span(pages))));
  fixture.give(kInflate, {{kList, 8, false}});
  fixture.settle();
  fixture.kick(kInflate);
  if (fixture.driver(kInflate).features().packed) {
    // Its flags say that nothing was offered.
    fixture.settle();
    EXPECT_EQ(fixture.host->resets_needed(), 0U);
  } else {
    EXPECT_TRUE(eventually([&] { return fixture.host->resets_needed() != 0; }));
  }
  fixture.restart();
  expect_works();
}

TEST_P(BalloonDeviceTest, SizeAndConfigurationSpace) {
  serve({.size = 8 * kMiB});
  auto config = fixture.config<BalloonConfig>();
  EXPECT_EQ(config.num_pages, 8 * kMiB / kBalloonPageBytes);
  EXPECT_EQ(config.actual, 0U);
  EXPECT_TRUE(device().resize(4 * kMiB));
  EXPECT_TRUE(device().resize(4 * kMiB));
  EXPECT_EQ(fixture.host->config_changes(), 1);
  EXPECT_EQ(fixture.config<BalloonConfig>().num_pages, 4 * kMiB / kBalloonPageBytes);
  const std::uint32_t actual = 77;
  fixture.device->write_config(4, std::as_bytes(std::span(&actual, 1)));
  EXPECT_EQ(fixture.config<BalloonConfig>().actual, 77U);
  EXPECT_EQ(fixture.stat("actual_bytes"), 77 * kBalloonPageBytes);
  const std::uint32_t by_bytes = 0x01020304;  // as a legacy driver writes
  for (std::uint32_t i = 0; i < 4; ++i) {
    fixture.device->write_config(4 + i, std::as_bytes(std::span(&by_bytes, 1)).subspan(i, 1));
  }
  EXPECT_EQ(fixture.config<BalloonConfig>().actual, by_bytes);
  // The host's fields, parts of fields, and one that was not offered.
  for (const std::uint32_t offset : {0U, 8U, 12U}) {
    fixture.device->write_config(offset, std::as_bytes(std::span(&actual, 1)));
  }
  fixture.device->write_config(4, std::as_bytes(std::span(&actual, 1)).first(2));
  EXPECT_EQ(device().counters().guest_faults.get(), 4U);
  config = fixture.config<BalloonConfig>();
  EXPECT_EQ(config.num_pages, 4 * kMiB / kBalloonPageBytes);
  EXPECT_EQ(config.poison_val, 0U);
  fixture.restart();
  EXPECT_EQ(fixture.config<BalloonConfig>().actual, 0U);
  EXPECT_EQ(fixture.config<BalloonConfig>().num_pages, 4 * kMiB / kBalloonPageBytes);
}

TEST_P(BalloonDeviceTest, FeaturesAreThoseThatWereAskedFor) {
  serve();
  EXPECT_EQ(fixture.device->traits().features, 0U);
  const BalloonDevice all(fixture.memory, everything());
  EXPECT_EQ(all.traits().features,
            feature_mask(kBalloonFeatureStatsVq) | feature_mask(kBalloonFeatureDeflateOnOom) |
                feature_mask(kBalloonFeatureReporting) | feature_mask(kBalloonFeaturePagePoison));
}

// ---- statistics ----

class BalloonStatsTest : public BalloonDeviceTest {
 protected:
  void offer_stats(const std::vector<BalloonStat>& stats, std::uint32_t surplus = 0) {
    ASSERT_TRUE(fixture.memory.write(kList, std::as_bytes(std::span(stats))));
    fixture.give(
        kBalloonStatsQueue,
        {{kList, static_cast<std::uint32_t>(stats.size() * sizeof(BalloonStat)) + surplus, false}});
  }
};

TEST_P(BalloonStatsTest, AreAskedForAgainAndAgain) {
  serve(everything());
  const auto begin = std::chrono::steady_clock::now();
  for (std::uint64_t i = 1; i <= 3; ++i) {
    offer_stats({{kBalloonStatFreeMemory, i << 20}, {kBalloonStatSwapIn, i}, {0x7777, 1}});
    EXPECT_TRUE(eventually([&] { return fixture.stat("guest_free_bytes") == i << 20; }));
    ASSERT_TRUE(fixture.wait_used(kBalloonStatsQueue)) << "the device asks for new ones";
  }
  EXPECT_GE(std::chrono::steady_clock::now() - begin, std::chrono::milliseconds(60));
  EXPECT_EQ(fixture.stat("guest_swap_in_bytes"), 3U);
  EXPECT_EQ(fixture.stat("stats_updates"), 3U);
  EXPECT_EQ(device().counters().guest_faults.get(), 0U);
}

TEST_P(BalloonStatsTest, WaitForNothingAtPauseAndReset) {
  auto options = everything();
  options.stats_interval = std::chrono::hours(1);
  serve(options);
  offer_stats({{kBalloonStatFreeMemory, 5}});
  EXPECT_TRUE(eventually([&] { return fixture.stat("guest_free_bytes") == 5; }));
  EXPECT_FALSE(fixture.try_used(kBalloonStatsQueue));
  fixture.pause_and_resume();
  fixture.settle();
  EXPECT_FALSE(fixture.try_used(kBalloonStatsQueue));
  fixture.restart();
  EXPECT_EQ(fixture.stat("guest_free_bytes"), 0U);
  offer_stats({{kBalloonStatFreeMemory, 6}});
  EXPECT_TRUE(eventually([&] { return fixture.stat("guest_free_bytes") == 6; }));
}

// Row 13a: what the new ring begins with has not been looked at.
TEST_P(BalloonStatsTest, AQueueThatIsResetBeginsAnew) {
  auto options = everything();
  options.stats_interval = std::chrono::hours(1);
  serve(options);
  offer_stats({{kBalloonStatFreeMemory, 5}});
  EXPECT_TRUE(eventually([&] { return fixture.stat("guest_free_bytes") == 5; }));
  fixture.reset_queue(kBalloonStatsQueue);
  offer_stats({{kBalloonStatFreeMemory, 6}});
  EXPECT_TRUE(eventually([&] { return fixture.stat("guest_free_bytes") == 6; }));
}

TEST_P(BalloonStatsTest, Row29StatisticsOfAWrongSize) {
  serve(everything());
  offer_stats({{kBalloonStatFreeMemory, 1}, {kBalloonStatTotalMemory, 2}}, 3);
  ASSERT_TRUE(fixture.wait_used(kBalloonStatsQueue));
  EXPECT_EQ(fixture.stat("guest_total_bytes"), 2U) << "what is whole is taken";
  EXPECT_EQ(device().counters().guest_faults.get(), 1U);
  fixture.give(kBalloonStatsQueue, {{kList, 4, false}});
  ASSERT_TRUE(fixture.wait_used(kBalloonStatsQueue));
  fixture.give(kBalloonStatsQueue, {{kList, 32 * kMiB, false}});
  ASSERT_TRUE(fixture.wait_used(kBalloonStatsQueue));
  EXPECT_EQ(device().counters().guest_faults.get(), 3U);
  // Nothing to read is the answer of a driver that knows nothing.
  fixture.give(kBalloonStatsQueue, {{kList, 100, true}});
  ASSERT_TRUE(fixture.wait_used(kBalloonStatsQueue));
  EXPECT_EQ(device().counters().guest_faults.get(), 3U);
  expect_works();
}

// ---- free page reporting ----

class BalloonReportTest : public BalloonDeviceTest {
 protected:
  void report(unsigned queue, std::initializer_list<testing::FakeDriver::Buffer> pages) {
    fixture.give(queue, pages);
    const auto used = fixture.wait_used(queue);
    ASSERT_TRUE(used);
    EXPECT_EQ(used->length, 0U);
  }
};

TEST_P(BalloonReportTest, FreePagesLeaveTheHost) {
  serve(everything());
  fill(kFirst, 16 * 1024);
  const std::uint64_t before = host_bytes(fixture.memory);
  report(kBalloonReportingQueue, {{GuestAddress(address(kFirst)), 4 * kMiB, true},
                                  {GuestAddress(address(kFirst + 2048)), 40 * kMiB, true}});
  EXPECT_EQ(before - host_bytes(fixture.memory), 44 * kMiB);
  EXPECT_EQ(fixture.stat("reported_bytes"), 44 * kMiB);
  EXPECT_EQ(fixture.stat("released_bytes"), 44 * kMiB);
  EXPECT_TRUE(reads(kFirst, 1024, std::byte{0}));
  EXPECT_TRUE(reads(kFirst + 1024, 1024, std::byte{0x5a}));
  // Only whole pages go.
  fill(kFirst, 2);
  report(kBalloonReportingQueue, {{GuestAddress(address(kFirst) + 1), 8191, true}});
  EXPECT_TRUE(reads(kFirst, 1, std::byte{0x5a}));
  EXPECT_TRUE(reads(kFirst + 1, 1, std::byte{0}));
}

TEST_P(BalloonReportTest, AreFoundWhereLinuxPutsThem) {
  serve(everything());
  const std::uint64_t all = fixture.device->traits().features;
  // Linux leaves no number out: 3, or 2 without statistics.
  for (const bool stats : {true, false}) {
    const unsigned queue = stats ? 3 : 2;
    std::vector<unsigned> enabled{0, 1};
    for (unsigned i = 2; i <= queue; ++i) enabled.push_back(i);
    fixture.restart(stats ? all : all & ~feature_mask(kBalloonFeatureStatsVq), enabled);
    fill(kFirst, 512);
    report(queue, {{GuestAddress(address(kFirst)), 2 * kMiB, true}});
    EXPECT_TRUE(reads(kFirst, 512, std::byte{0})) << queue;
  }
  // As the standard has it, with the queue between set up for nothing.
  fixture.restart(all, {0, 1, 2, 3, 4});
  fill(kFirst, 512);
  report(4, {{GuestAddress(address(kFirst)), 2 * kMiB, true}});
  EXPECT_TRUE(reads(kFirst, 512, std::byte{0}));
  fixture.give(3, {{kList, 8, true}});
  fixture.settle();
  EXPECT_FALSE(fixture.try_used(3));
}

TEST_P(BalloonReportTest, PagesThatAreFilledWithAPatternStay) {
  serve(everything());
  const std::uint32_t poison = 0xaaaaaaaa;
  fixture.device->write_config(12, std::as_bytes(std::span(&poison, 1)));
  fill(kFirst, 512, std::byte{0xaa});
  report(kBalloonReportingQueue, {{GuestAddress(address(kFirst)), 2 * kMiB, true}});
  EXPECT_TRUE(reads(kFirst, 512, std::byte{0xaa}));
  EXPECT_EQ(fixture.stat("reported_bytes"), 2 * kMiB);
  EXPECT_EQ(fixture.stat("released_bytes"), 0U);
  // Not negotiated: the driver does not care.
  fixture.restart(fixture.device->traits().features & ~feature_mask(kBalloonFeaturePagePoison));
  fixture.device->write_config(12, std::as_bytes(std::span(&poison, 1)));
  report(kBalloonReportingQueue, {{GuestAddress(address(kFirst)), 2 * kMiB, true}});
  EXPECT_TRUE(reads(kFirst, 512, std::byte{0}));
}

TEST_P(BalloonReportTest, BuffersThatCanOnlyBeReadAreNoReports) {
  serve(everything());
  fill(kFirst, 512);
  report(kBalloonReportingQueue, {{GuestAddress(address(kFirst)), 2 * kMiB, false}});
  EXPECT_TRUE(reads(kFirst, 512, std::byte{0x5a}));
  EXPECT_EQ(device().counters().guest_faults.get(), 1U);
}

TEST_P(BalloonDeviceTest, RequestsAllocateNothing) {
  serve(everything());
  const auto numbers = range(kFirst, 256);
  ASSERT_TRUE(fixture.memory.write(kList, std::as_bytes(std::span(numbers))));
  const auto run = [&](int count) {
    for (int i = 0; i < count; ++i) {
      for (const unsigned queue : {kInflate, kDeflate}) {
        ASSERT_TRUE(fixture.driver(queue).add({{kList, 1024, false}}));
        if (fixture.driver(queue).offer()) fixture.kick(queue);
        while (!fixture.driver(queue).reap()) {
          if (!fixture.driver(queue).enable_interrupts()) std::this_thread::yield();
        }
      }
    }
  };
  run(10);
  const std::uint64_t before = allocations.load();
  run(500);
  EXPECT_EQ(allocations.load(), before);
}

INSTANTIATE_TEST_SUITE_P(Modes, BalloonDeviceTest,
                         ::testing::Values(NotifyMode::kIoEventFd, NotifyMode::kSync),
                         [](const auto& which) { return to_string(which.param); });
INSTANTIATE_TEST_SUITE_P(Modes, BalloonStatsTest,
                         ::testing::Values(NotifyMode::kIoEventFd, NotifyMode::kSync),
                         [](const auto& which) { return to_string(which.param); });
INSTANTIATE_TEST_SUITE_P(Modes, BalloonReportTest,
                         ::testing::Values(NotifyMode::kIoEventFd, NotifyMode::kSync),
                         [](const auto& which) { return to_string(which.param); });

}  // namespace
}  // namespace bellhop
