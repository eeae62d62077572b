#include "machine/platform/debug_exit_port.h"

#include <algorithm>
#include <utility>

namespace bellhop {

DebugExitPort::DebugExitPort(Callback exit, Callback marker)
    : exit_(std::move(exit)), marker_(std::move(marker)) {}

void DebugExitPort::read(std::uint64_t /*offset*/, std::span<std::byte> data) noexcept {
  std::ranges::fill(data, std::byte{0});
}

void DebugExitPort::write(std::uint64_t offset, std::span<const std::byte> data) noexcept {
  if (data.size() > 4) return;
  std::uint32_t value = 0;
  for (std::size_t i = data.size(); i-- > 0;) {
    value = value << 8 | std::to_integer<std::uint32_t>(data[i]);
  }
  if (offset == 0 && exit_) exit_(value);
  if (offset == kMarkerOffset && marker_) marker_(value);
}

}  // namespace bellhop
