#include "machine/platform/reset_control.h"

#include <algorithm>
#include <utility>

namespace bellhop {

ResetControl::ResetControl(std::function<void()> reset) : reset_(std::move(reset)) {}

void ResetControl::read(std::uint64_t /*offset*/, std::span<std::byte> data) noexcept {
  std::ranges::fill(data, std::byte{0xff});
  if (data.size() == 1) data[0] = std::byte{value_.load(std::memory_order_relaxed)};
}

void ResetControl::write(std::uint64_t /*offset*/, std::span<const std::byte> data) noexcept {
  if (data.size() != 1) return;
  const auto value = std::to_integer<std::uint8_t>(data[0]);
  // kResetCpu never stays: each write of it is the edge that resets.
  value_.store(value & (kSystemReset | kFullReset), std::memory_order_relaxed);
  if ((value & kResetCpu) != 0 && reset_) reset_();
}

}  // namespace bellhop
