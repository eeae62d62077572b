// Whatever a driver writes into a packed ring, the device stays within RAM, comes to an end, and
// gives every chain back at most once.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <vector>

#include "testing/fake_driver.h"
#include "testing/test_memory.h"
#include "virtio/abi/ring.h"
#include "virtio/ring/ring.h"

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
  bool chance(unsigned one_in) { return take<std::uint8_t>() % one_in == 0; }

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
      return 0x10000U + offset;  // the ring itself
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

virtio::PackedDesc take_desc(Input& input) {
  virtio::PackedDesc desc{};
  desc.addr = take_address(input);
  desc.len = input.chance(4) ? input.take<std::uint32_t>()
                             : input.take<std::uint8_t>() * std::uint32_t{16};
  desc.id = input.chance(8) ? input.take<std::uint16_t>() : input.take<std::uint8_t>();
  desc.flags = input.take<std::uint8_t>() & 7U;
  return desc;
}

void touch(DescriptorChain& chain) {
  check(total_bytes(chain.readable()) == chain.readable_bytes());
  check(total_bytes(chain.writable()) == chain.writable_bytes());
  // Both ends of every buffer: the sanitizer sees what lies outside.
  for (const GuestSpan& span : chain.writable()) {
    check(span.store(0, std::uint8_t{1}));
    check(span.store(span.size() - 1, std::uint8_t{2}));
  }
  for (const GuestSpan& span : chain.readable()) {
    std::uint8_t byte = 0;
    check(span.load(span.size() - 1, byte));
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const GuestMemory memory = bellhop::testing::make_memory();
  Input input(data, size);
  const auto first = input.take<std::uint8_t>();
  const RingFeatures features{.indirect = (first & 1) != 0,
                              .event_idx = (first & 2) != 0,
                              .packed = true,
                              .in_order = (first & 0x80) != 0};
  const auto ring_size = static_cast<std::uint16_t>(1U + (first >> 2) * 3U);
  FakeDriver driver(memory, GuestAddress(0x10000), ring_size, features);
  QueueCounters counters;
  auto ring = bellhop::testing::must(Ring::activate(memory, driver.config(), features, counters));
  std::vector<DescriptorChain> chains(32);
  std::size_t taken = 0;
  std::uint16_t next = 0;  // where the driver goes on
  bool wrap = true;

  const auto complete_one = [&](std::size_t which) {
    ring.complete(chains[which], static_cast<std::uint32_t>(which % 3));
    --taken;
    if (which != taken) chains[which] = std::move(chains[taken]);
  };
  while (!input.empty()) {
    switch (input.take<std::uint8_t>() % 8) {
      case 0:
      case 1: {  // in its place, as a driver shows it
        virtio::PackedDesc desc = take_desc(input);
        desc.flags |= virtio::packed_avail_flags(wrap);
        driver.set_packed_desc(next, desc);
        if (++next == ring_size) {
          next = 0;
          wrap = !wrap;
        }
        break;
      }
      case 2: {  // anywhere, with any flags
        virtio::PackedDesc desc = take_desc(input);
        if (input.chance(2)) desc.flags = input.take<std::uint16_t>();
        driver.set_packed_desc(static_cast<std::uint16_t>(input.take<std::uint8_t>() % ring_size),
                               desc);
        break;
      }
      case 3: {  // an entry of an indirect table at a fixed place
        const auto table = memory.span(GuestAddress(0x800000), 4096);
        const virtio::PackedDesc desc = take_desc(input);
        check(table && table->store(input.take<std::uint8_t>() * sizeof desc, desc));
        break;
      }
      case 4:
        driver.set_driver_event(
            {.off_wrap = input.take<std::uint16_t>(), .flags = input.take<std::uint8_t>()});
        break;
      case 5: {
        ring.suppress_kicks();
        while (taken < chains.size()) {
          const Pop answer = ring.pop(chains[taken]);
          if (answer != Pop::kChain && answer != Pop::kMalformed) break;
          check(answer == Pop::kChain || chains[taken].readable().empty());
          touch(chains[taken++]);
        }
        (void)ring.enable_kicks();
        break;
      }
      case 6:  // in any order; or as if the last had never been taken
        if (taken > 0 && input.chance(4) && ring.rewind(chains[taken - 1])) {
          --taken;
        } else if (taken > 0) {
          complete_one(input.take<std::uint8_t>() % taken);
        }
        break;
      default:
        if (input.chance(2)) {
          while (taken > 0) complete_one(0);
        }
        (void)ring.publish();
        if (taken > 0 || !input.chance(2)) break;
        // Goes on elsewhere, from where it stands.
        ring = bellhop::testing::must(
            Ring::activate(memory, driver.config(), features, counters, ring.state()));
        break;
    }
  }
  while (taken > 0) complete_one(0);
  (void)ring.publish();
  check(ring.in_flight() == 0);
  check(ring.state().next_avail == ring.state().next_used);
  check(ring.state().avail_wrap == ring.state().used_wrap);
  return 0;
}
