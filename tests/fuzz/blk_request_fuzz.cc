// Whatever a driver writes into a block request, it is refused or lies on the disk.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "devices/blk/blk_request.h"
#include "testing/fake_driver.h"
#include "testing/test_memory.h"
#include "virtio/ring/split_ring.h"

namespace {

using namespace bellhop;
using bellhop::testing::FakeDriver;

void check(bool good) {
  if (!good) std::abort();
}

}  // namespace

/// Input: flags, buffer lengths, then the bytes that the device reads.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const GuestMemory memory = bellhop::testing::make_memory();
  static BlkRequest request;
  if (size < 10) return 0;
  const BlkRules rules{.capacity = std::uint64_t{data[0]} << 16,
                       .logical_block = (data[1] & 1) != 0 ? 4096U : 512U,
                       .read_only = (data[1] & 2) != 0,
                       .discard = (data[7] & 1) != 0,
                       .write_zeroes = (data[7] & 2) != 0};
  constexpr GuestAddress kData{0x800000};
  memory.span(kData, size)->copy_in(std::as_bytes(std::span(data, size)).subspan(8));

  FakeDriver driver(memory, GuestAddress(0x10000), 8);
  std::array<FakeDriver::Buffer, 4> buffers;
  std::size_t count = 0;
  std::uint64_t at = kData.value();
  for (std::size_t i = 0; i < buffers.size(); ++i) {
    const std::uint32_t length = data[2 + i] * ((data[1] & 4U) != 0 ? 1U : 16U);
    if (length == 0) continue;
    const bool writes = i >= data[6] % 5U;
    buffers[count++] = {GuestAddress(at), length, writes};
    at += length;
  }
  if (count == 0) return 0;
  QueueCounters counters;
  auto queue = bellhop::testing::must(SplitRing::activate(memory, driver.config(), {}, counters));
  check(driver.add(std::span(buffers.data(), count)).has_value());
  (void)driver.offer();
  switch (queue.pop(request.chain)) {
    case Pop::kChain:
      break;
    case Pop::kMalformed:
      queue.complete(request.chain, 0);
      return 0;
    default:
      return 0;
  }

  const BlkPlan plan = parse_blk_request(request, rules);
  if (plan.kind == BlkPlan::Kind::kIo && plan.op != BlockOp::kFlush) {
    check(plan.length != 0 && plan.length % rules.logical_block == 0);
    check(plan.offset % rules.logical_block == 0);
    check(plan.offset <= rules.capacity && plan.length <= rules.capacity - plan.offset);
    check(total_bytes(request.data) == plan.length);
    check(plan.op == BlockOp::kRead || !rules.read_only);
  }
  if (plan.kind == BlkPlan::Kind::kSegments) {
    check(plan.segments <= kBlkMaxDiscardSegments && !rules.read_only);
    for (std::uint32_t i = 0; i < plan.segments; ++i) {
      const BlkRange& range = request.ranges[i];
      check(range.offset <= rules.capacity && range.length <= rules.capacity - range.offset);
    }
  }
  if (plan.kind != BlkPlan::Kind::kDrop) check(request.status_byte.size() == 1);
  queue.complete(request.chain, 0);
  return 0;
}
