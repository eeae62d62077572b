// Whatever a driver writes into a split ring, the device stays within RAM, comes to an end, and
// gives every chain back at most once.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <vector>

#include "testing/fake_driver.h"
#include "testing/test_memory.h"
#include "virtio/abi/ring.h"
#include "virtio/ring/split_ring.h"

namespace {

using namespace bellhop;
using bellhop::testing::FakeDriver;

/// Numbers out of the input; zeros when it is used up.
class Input {
 public:
  Input(const std::uint8_t* data, std::size_t size) : data_(data), size_(size) {}
  [[nodiscard]] bool empty() const { return used_ >= size_; }
  template <class T>
  T take() {
    T value{};
    for (std::size_t i = 0; i < sizeof(T); ++i) {
      const std::uint8_t byte = used_ < size_ ? data_[used_++] : std::uint8_t{0};
      value = static_cast<T>(value | static_cast<T>(static_cast<T>(byte) << (8 * i)));
    }
    return value;
  }

 private:
  const std::uint8_t* data_;
  std::size_t size_;
  std::size_t used_ = 0;
};

void check(bool good) {
  if (!good) std::abort();
}

/// Mostly near the edges of the two regions, where mistakes live.
std::uint64_t take_address(Input& input) {
  const auto offset = input.take<std::uint16_t>();
  switch (input.take<std::uint8_t>() % 6) {
    case 0:
      return 0x10000U + offset;  // the rings themselves
    case 1:
      return (std::uint64_t{16} << 20) - offset % 512;  // end of low RAM
    case 2:
      return testing::kHighBase + (std::uint64_t{1} << 20) - offset % 512;
    case 3:
      return UINT64_MAX - offset % 512;
    case 4:
      return 0x800000U + offset;
    default:
      return input.take<std::uint64_t>();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const GuestMemory memory = bellhop::testing::make_memory();
  Input input(data, size);
  const auto first = input.take<std::uint8_t>();
  const RingFeatures features{.indirect = (first & 1) != 0, .event_idx = (first & 2) != 0};
  const auto ring_size = static_cast<std::uint16_t>(1U << (first >> 2) % 9);
  FakeDriver driver(memory, GuestAddress(0x10000), ring_size, features);
  QueueCounters counters;
  auto queue =
      bellhop::testing::must(SplitRing::activate(memory, driver.config(), features, counters));
  std::vector<DescriptorChain> chains(32);
  std::size_t taken = 0;

  while (!input.empty()) {
    switch (input.take<std::uint8_t>() % 8) {
      case 0: {
        const auto index = static_cast<std::uint16_t>(input.take<std::uint16_t>() % ring_size);
        virtio::Desc desc{};
        desc.addr = take_address(input);
        desc.len = input.take<std::uint8_t>() % 4 == 0 ? input.take<std::uint32_t>()
                                                       : input.take<std::uint8_t>() * 16U;
        desc.flags = input.take<std::uint8_t>() & 7U;
        desc.next = input.take<std::uint8_t>();
        driver.set_desc(index, desc);
        break;
      }
      case 1: {  // an entry of an indirect table at a fixed place
        virtio::Desc desc{};
        desc.addr = take_address(input);
        desc.len = input.take<std::uint16_t>();
        desc.flags = input.take<std::uint8_t>() & 7U;
        desc.next = input.take<std::uint8_t>();
        const auto table = memory.span(GuestAddress(0x800000), 4096);
        check(table && table->store((input.take<std::uint8_t>()) * sizeof desc, desc));
        break;
      }
      case 2:
        driver.push_head(input.take<std::uint8_t>() % 16 == 0
                             ? input.take<std::uint16_t>()
                             : static_cast<std::uint16_t>(input.take<std::uint8_t>() % ring_size));
        break;
      case 3:
        (void)driver.offer();
        break;
      case 4:
        if (input.take<std::uint8_t>() % 16 == 0) driver.set_avail_idx(input.take<std::uint16_t>());
        break;
      case 5:
        driver.set_used_event(input.take<std::uint16_t>());
        driver.set_avail_flags(input.take<std::uint8_t>());
        break;
      case 6: {
        queue.suppress_kicks();
        while (taken < chains.size()) {
          const Pop answer = queue.pop(chains[taken]);
          if (answer != Pop::kChain && answer != Pop::kMalformed) break;
          check(answer == Pop::kChain || chains[taken].readable().empty());
          DescriptorChain& chain = chains[taken++];
          check(total_bytes(chain.readable()) == chain.readable_bytes());
          check(total_bytes(chain.writable()) == chain.writable_bytes());
          // Touch both ends of every buffer: the sanitizer sees what lies outside.
          for (const GuestSpan& span : chain.writable()) {
            check(span.store(0, std::uint8_t{1}));
            check(span.store(span.size() - 1, std::uint8_t{2}));
          }
          for (const GuestSpan& span : chain.readable()) {
            std::uint8_t byte = 0;
            check(span.load(span.size() - 1, byte));
          }
        }
        (void)queue.enable_kicks();
        break;
      }
      default:
        while (taken > 0) queue.complete(chains[--taken], 1);
        (void)queue.publish();
        break;
    }
  }
  while (taken > 0) queue.complete(chains[--taken], 0);
  check(queue.in_flight() == 0);
  return 0;
}
