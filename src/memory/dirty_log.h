#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "memory/guest_address.h"

namespace bellhop {

/// Which pages of guest memory were written: one bit for each, from address 0 on, the lowest bit of
/// a byte first (vhost-user, "Migration"). Another process reads and clears the bits meanwhile. A
/// view: its bytes outlive it. Any thread.
class DirtyLog {
 public:
  static constexpr std::uint64_t kPage = 4096;  ///< VHOST_LOG_PAGE

  /// For pages below this.
  static constexpr std::uint64_t pages_to(std::uint64_t end) noexcept {
    return end / kPage + (end % kPage != 0 ? 1 : 0);
  }

  DirtyLog() noexcept = default;
  DirtyLog(std::byte* bits, std::uint64_t bytes) noexcept : bits_(bits), bytes_(bytes) {}

  /// Whether it has a bit for each page of `size` bytes at `address`.
  [[nodiscard]] bool covers(GuestAddress address, std::uint64_t size) const noexcept {
    const auto end = address.plus(size);
    return end && pages_to(end->value()) <= bytes_ * 8;
  }

  /// To be called after the bytes were written. What it does not cover is left out: our own bug.
  void mark(GuestAddress address, std::uint64_t size) const noexcept {
    if (size == 0 || !covers(address, size)) return;
    std::uint64_t page = address.value() / kPage;
    const std::uint64_t end = pages_to(address.value() + size);
    while (page != end) {
      const std::uint64_t first = page % 8;
      const std::uint64_t count = std::min(8 - first, end - page);
      const auto bits = static_cast<std::uint8_t>(((1U << count) - 1U) << first);
      // Always, whatever is there: a bit that is set already may be on its way to be cleared.
      // Release: who takes the bit sees what was written before it (pairs with the reader's atomic
      // exchange).
      std::atomic_ref<std::uint8_t>(reinterpret_cast<std::uint8_t*>(bits_)[page / 8])
          .fetch_or(bits, std::memory_order_release);
      page += count;
    }
  }

 private:
  std::byte* bits_ = nullptr;
  std::uint64_t bytes_ = 0;
};

}  // namespace bellhop
