#include "devices/balloon/balloon_pages.h"

#include "virtio/abi/balloon.h"

namespace bellhop {

using virtio::kBalloonPageBytes;

bool BalloonPages::is_ram(std::uint32_t number, std::uint64_t count) const noexcept {
  const GuestAddress address(number * kBalloonPageBytes);
  return memory_.span(address, count * kBalloonPageBytes).has_value();
}

void BalloonPages::inflate(std::uint32_t number, std::uint64_t count) noexcept {
  const auto span =
      memory_.span(GuestAddress(number * kBalloonPageBytes), count * kBalloonPageBytes);
  if (!span) return;
  counters_.inflated_pages.add(count);
  release(*span);
}

void BalloonPages::deflate(std::uint32_t number) noexcept {
  // The host brings the page when the guest touches it.
  if (is_ram(number)) counters_.deflated_pages.add();
}

void BalloonPages::release(const GuestSpan& span) noexcept {
  if (const auto bytes = memory_.release(span)) {
    counters_.released_bytes.add(*bytes);
  } else {
    counters_.host_errors.add();
  }
}

}  // namespace bellhop
