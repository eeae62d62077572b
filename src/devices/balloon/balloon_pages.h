#pragma once

#include <cstdint>

#include "base/shared_counter.h"
#include "memory/guest_memory.h"

namespace bellhop {

/// What happened to pages. Several queues write them.
struct BalloonCounters {
  SharedCounter inflated_pages;  ///< of 4 KiB, as are all pages of a balloon
  SharedCounter deflated_pages;
  SharedCounter reported_bytes;
  SharedCounter released_bytes;  ///< given back to the host
  SharedCounter host_errors;     ///< times that the host did not take them
  SharedCounter stats_updates;
  SharedCounter guest_faults;  ///< pages outside of RAM, requests of a wrong size, writes
};

/// Gives guest pages back to the host. Any thread.
class BalloonPages {
 public:
  BalloonPages(const GuestMemory& memory, BalloonCounters& counters) noexcept
      : memory_(memory), counters_(counters) {}

  /// Whether `count` pages from `number` on are RAM, and next to each other in it.
  [[nodiscard]] bool is_ram(std::uint32_t number, std::uint64_t count = 1) const noexcept;
  /// Pages of RAM go into the balloon.
  void inflate(std::uint32_t number, std::uint64_t count) noexcept;
  /// A page of RAM comes out of it.
  void deflate(std::uint32_t number) noexcept;
  /// Free pages, wherever they are.
  void release(const GuestSpan& span) noexcept;

 private:
  const GuestMemory& memory_;
  BalloonCounters& counters_;
};

}  // namespace bellhop
