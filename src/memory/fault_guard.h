#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

#include "base/result.h"
#include "base/unique_fd.h"

namespace bellhop {

/// Keeps memory that is mapped from another process's file from ending this process. Whoever has
/// the file can cut it short, or take its huge pages away, and an access of ours is a SIGBUS then.
/// While a guard is there, zeroes of our own take the place of the page that is missing, the access
/// goes on, and the guard's event is signalled: the memory is not the other process's any more.
class FaultGuard {
 public:
  /// Catches SIGBUS from now on, of whatever is guarded; any other one ends the process as before.
  /// Once for a process, before the first guard().
  static Status install();

  /// Guards `size` bytes at `begin`, whole pages of `page` bytes, until the guard's end; they stay
  /// mapped as long, and `faulted` outlives it. Errors: kMaxGuards are there.
  static Result<FaultGuard> guard(std::byte* begin, std::uint64_t size, std::uint64_t page,
                                  const EventFd& faulted);
  static constexpr unsigned kMaxGuards = 4096;

  FaultGuard(FaultGuard&& other) noexcept : slot_(std::exchange(other.slot_, -1)) {}
  FaultGuard& operator=(FaultGuard&& other) noexcept {
    std::swap(slot_, other.slot_);
    return *this;
  }
  ~FaultGuard();

 private:
  explicit FaultGuard(int slot) noexcept : slot_(slot) {}

  int slot_;
};

}  // namespace bellhop
