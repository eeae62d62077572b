#include "machine/platform/reset_port.h"

#include <algorithm>
#include <utility>

namespace bellhop {

namespace {

constexpr std::byte kStatus{0x01};

}  // namespace

ResetPort::ResetPort(std::function<void()> reset) : reset_(std::move(reset)) {}

void ResetPort::read(std::uint64_t /*offset*/, std::span<std::byte> data) noexcept {
  std::ranges::fill(data, kStatus);
}

void ResetPort::write(std::uint64_t /*offset*/, std::span<const std::byte> data) noexcept {
  if (data.size() == 1 && data[0] == std::byte{kPulse} && reset_) reset_();
}

}  // namespace bellhop
