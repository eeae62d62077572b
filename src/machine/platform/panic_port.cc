#include "machine/platform/panic_port.h"

#include <algorithm>
#include <utility>

namespace bellhop {

namespace {

constexpr std::byte kPanicked{1};
// A guest that will start a crash kernel says so instead of kPanicked, and goes on.
constexpr std::byte kCrashLoaded{2};

}  // namespace

PanicPort::PanicPort(std::function<void()> panicked) : panicked_(std::move(panicked)) {}

void PanicPort::read(std::uint64_t /*offset*/, std::span<std::byte> data) noexcept {
  std::ranges::fill(data, kPanicked | kCrashLoaded);
}

void PanicPort::write(std::uint64_t /*offset*/, std::span<const std::byte> data) noexcept {
  if ((data[0] & kPanicked) != std::byte{0} && panicked_) panicked_();
}

}  // namespace bellhop
