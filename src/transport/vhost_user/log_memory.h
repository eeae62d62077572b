#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>

#include "base/result.h"
#include "base/unique_fd.h"
#include "memory/dirty_log.h"
#include "memory/fault_guard.h"
#include "vhost_user/messages.h"

namespace bellhop {

/// Where a vhost-user front end wants to hear which pages were written (SET_LOG_BASE): mapped, and
/// guarded against a front end that cuts the file short.
class LogMemory {
 public:
  /// Maps what a front end hands over. `faulted` is signalled when a page is not there any more,
  /// and outlives this. Errors (the peer's fault): a log that is empty, does not begin at a page or
  /// is not within its file; a file that is none of memory or cannot be written; the host has no
  /// memory map left.
  static Result<LogMemory> map(const vhost_user::LogDescription& log, const UniqueFd& file,
                               const EventFd& faulted);
  LogMemory(LogMemory&& other) noexcept
      : begin_(std::exchange(other.begin_, nullptr)),
        bytes_(other.bytes_),
        mapped_(other.mapped_),
        guard_(std::move(other.guard_)) {}
  LogMemory& operator=(LogMemory&& other) noexcept {
    std::swap(begin_, other.begin_);
    std::swap(bytes_, other.bytes_);
    std::swap(mapped_, other.mapped_);
    std::swap(guard_, other.guard_);
    return *this;
  }
  ~LogMemory();

  [[nodiscard]] DirtyLog pages() const noexcept { return {begin_, bytes_}; }

 private:
  LogMemory(std::byte* begin, std::uint64_t bytes, std::uint64_t mapped) noexcept
      : begin_(begin), bytes_(bytes), mapped_(mapped) {}

  std::byte* begin_;
  std::uint64_t bytes_;
  std::uint64_t mapped_;  ///< the same in whole pages of the file
  std::optional<FaultGuard> guard_;
};

}  // namespace bellhop
