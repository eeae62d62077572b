#include "virtio/ring/ring_common.h"

#include <fmt/format.h>

namespace bellhop {

namespace {

bool overlap(const RingArea& a, const RingArea& b) noexcept {
  // Neither wraps: both were found to lie in RAM.
  return a.address.value() < b.address.value() + b.bytes &&
         b.address.value() < a.address.value() + a.bytes;
}

}  // namespace

Result<std::array<GuestSpan, 3>> find_ring_areas(const GuestMemory& memory,
                                                 const std::array<RingArea, 3>& areas) {
  std::array<GuestSpan, 3> spans;
  for (std::size_t i = 0; i < areas.size(); ++i) {
    const RingArea& area = areas[i];
    if (area.address.value() % area.alignment != 0) {
      return fail(fmt::format("{} at {:#x} is misaligned", area.name, area.address.value()));
    }
    const auto span = memory.span(area.address, area.bytes);
    if (!span) {
      return fail(fmt::format("{} at {:#x} is outside RAM", area.name, area.address.value()));
    }
    spans[i] = *span;
    for (std::size_t j = 0; j < i; ++j) {
      if (overlap(area, areas[j])) {
        return fail(fmt::format("{} overlaps the {}", area.name, areas[j].name));
      }
    }
  }
  return spans;
}

}  // namespace bellhop
