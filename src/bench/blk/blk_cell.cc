#include "bench/blk/blk_cell.h"

#include <fmt/format.h>

#include "virtio/abi/ring.h"

namespace bellhop::bench {

const char* to_string(Workload workload) noexcept {
  switch (workload) {
    case Workload::kCreate:
      return "create";
    case Workload::kSeqRead:
      return "seqread";
    case Workload::kRandRead:
      return "randread";
    case Workload::kRandWrite:
      return "randwrite";
  }
  return "";
}

const char* to_string(Cache cache) noexcept { return cache == Cache::kNone ? "none" : "writeback"; }

const char* to_string(RingLayout ring) noexcept {
  switch (ring) {
    case RingLayout::kSplit:
      return "split";
    case RingLayout::kPacked:
      return "packed";
    case RingLayout::kSplitInOrder:
      return "split-in-order";
    case RingLayout::kPackedInOrder:
      return "packed-in-order";
  }
  return "";
}

std::uint64_t features_of(RingLayout ring) noexcept {
  using namespace virtio;
  const bool packed = ring == RingLayout::kPacked || ring == RingLayout::kPackedInOrder;
  const bool in_order = ring == RingLayout::kSplitInOrder || ring == RingLayout::kPackedInOrder;
  return (packed ? feature_mask(kFeatureRingPacked) : 0) |
         (in_order ? feature_mask(kFeatureInOrder) : 0);
}

const char* title(Workload workload) noexcept {
  switch (workload) {
    case Workload::kCreate:
      return "Large file create";
    case Workload::kSeqRead:
      return "Sequential reads";
    case Workload::kRandRead:
      return "Random reads";
    case Workload::kRandWrite:
      return "Random writes";
  }
  return "";
}

std::string describe(const BlkCell& cell) {
  const std::string vcpus =
      cell.vcpus == 0 ? "" : fmt::format(", {} vCPU{}", cell.vcpus, cell.vcpus == 1 ? "" : "s");
  return fmt::format("{} {} x{} {} {}{}{}{}", describe(cell.vmm), to_string(cell.workload),
                     cell.threads, bellhop::to_string(cell.notify), to_string(cell.placement),
                     vcpus, cell.ring == RingLayout::kSplit ? "" : ", ",
                     cell.ring == RingLayout::kSplit ? "" : to_string(cell.ring));
}

bool is_compared(const BlkCell& cell, const BlkCell& base) {
  BlkCell same = cell;
  if (cell.notify != base.notify) {
    if (base.notify != NotifyMode::kSync) return false;
    same.notify = base.notify;
  } else {
    if (cell.vmm != Vmm::kBellhop || !base.vmm.is_qemu()) return false;
    same.vmm = base.vmm;
  }
  return same == base;
}

std::vector<std::vector<BlkCell>> compared_sets(const BlkSweep& sweep) {
  std::vector<std::vector<BlkCell>> sets;
  for (const unsigned vcpus : sweep.vcpus) {
    for (const Workload workload : sweep.workloads) {
      for (const unsigned threads : sweep.threads) {
        auto& set = sets.emplace_back();
        for (const Placement placement : sweep.placements) {
          for (const Vmm vmm : sweep.vmms) {
            for (const NotifyMode notify : sweep.notify) {
              for (const RingLayout ring : sweep.rings) {
                set.push_back({workload, threads, vcpus, placement, vmm, notify, ring});
              }
            }
          }
        }
      }
    }
  }
  return sets;
}

}  // namespace bellhop::bench
