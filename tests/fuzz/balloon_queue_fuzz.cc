// Whatever page numbers and statistics a driver writes, only pages that it named are given back.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <set>
#include <span>
#include <vector>

#include "devices/balloon/balloon_device.h"
#include "devices/balloon/balloon_queue.h"
#include "testing/test_memory.h"
#include "virtio/abi/balloon.h"

namespace {

using namespace bellhop;
using bellhop::testing::kHighBase;
using bellhop::testing::must;

constexpr std::uint64_t kPage = virtio::kBalloonPageBytes;
constexpr std::uint32_t kLow = 64;  ///< pages
constexpr std::uint32_t kHigh = 16;
constexpr auto kHighFirst = static_cast<std::uint32_t>(kHighBase / kPage);

void check(bool good) {
  if (!good) std::abort();
}

struct Guest {
  GuestMemory memory = testing::make_memory(kLow * kPage, kHigh* kPage);
  BalloonCounters counters;
  BalloonPages pages{memory, counters};
  std::unique_ptr<QueueRunner> runner = must(QueueRunner::create({}));
  BalloonPageQueue inflate{BalloonPageQueue::Direction::kInflate, pages, counters, *runner};
  BalloonPageQueue deflate{BalloonPageQueue::Direction::kDeflate, pages, counters, *runner};
  BalloonStats stats;

  template <class Visit>
  void each_page(Visit visit) {
    for (std::uint32_t i = 0; i < kLow; ++i) visit(i);
    for (std::uint32_t i = 0; i < kHigh; ++i) visit(kHighFirst + i);
  }
  /// Its first word.
  [[nodiscard]] GuestSpan word(std::uint32_t page) const {
    return *memory.span(GuestAddress(page * kPage), sizeof(std::uint64_t));
  }
};

/// Numbers near RAM's ends are what is interesting: a byte stands for one of them.
std::uint32_t number_of(std::uint8_t byte) {
  if (byte < kLow + 8) return byte;
  if (byte < kLow + 8 + kHigh + 8) return kHighFirst - 4 + (byte - (kLow + 8));
  return UINT32_MAX - (byte & 7U);
}

}  // namespace

/// Input: where the list is cut into buffers, how much is left off its end, which queue; then bytes
/// that stand for numbers, or are statistics.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static Guest guest;
  if (size < 3) return 0;
  const std::size_t cut = data[0] + 1U;
  const std::size_t left_off = data[1] & 3U;
  const bool inflating = (data[2] & 1U) != 0;
  const std::span<const std::uint8_t> input(data + 3, size - 3);

  std::vector<std::uint32_t> numbers(input.size());
  std::ranges::transform(input, numbers.begin(), number_of);
  std::vector<std::byte> list(numbers.size() * sizeof(std::uint32_t));
  if (!list.empty()) std::memcpy(list.data(), numbers.data(), list.size());
  list.resize(list.size() - std::min(left_off, list.size()));
  std::vector<GuestSpan> buffers;
  for (std::size_t at = 0; at < list.size(); at += cut) {
    buffers.emplace_back(list.data() + at, std::min(cut, list.size() - at));
  }
  const std::size_t whole = list.size() / sizeof(std::uint32_t);
  const std::set<std::uint32_t> named(numbers.begin(),
                                      numbers.begin() + static_cast<std::ptrdiff_t>(whole));

  constexpr std::uint64_t kMark = 0x5a5a'0000'0000'0001;
  guest.each_page([](std::uint32_t page) { check(guest.word(page).store(0, kMark + page)); });
  BalloonPageQueue& queue = inflating ? guest.inflate : guest.deflate;
  std::size_t next = 0;
  do {
    queue.begin_turn();
    const std::size_t after = queue.take(BufferRun(buffers), list.size(), next);
    check(after > next || after == whole);
    next = after;
  } while (next < whole);
  guest.each_page([&](std::uint32_t page) {
    std::uint64_t value = 1;
    check(guest.word(page).load(0, value));
    const bool gone = inflating && named.contains(page);
    check(value == (gone ? 0 : kMark + page));
  });

  const bool good = guest.stats.take(BufferRun(buffers), list.size());
  check(!good || list.size() % sizeof(virtio::BalloonStat) == 0);
  guest.stats.clear();
  return 0;
}
