#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>

#include "base/result.h"
#include "base/unique_fd.h"
#include "memory/fault_guard.h"

namespace bellhop {

/// A part of a file that a vhost-user front end hands over for what its back end notes (requests in
/// flight, written pages): mapped, and guarded against a front end that cuts the file short.
class PeerMapping {
 public:
  /// Maps `bytes` at `offset`, or the first `most` of them. `faulted` is signalled when a page is
  /// not there any more, and outlives this. Errors (the peer's fault): a part that is empty, does
  /// not begin at a page or is not within the file; a file that is none of memory or cannot be
  /// written; the host has no memory map left.
  static Result<PeerMapping> map(const UniqueFd& file, std::uint64_t offset, std::uint64_t bytes,
                                 std::uint64_t most, const EventFd& faulted);
  PeerMapping(PeerMapping&& other) noexcept
      : begin_(std::exchange(other.begin_, nullptr)),
        bytes_(other.bytes_),
        mapped_(other.mapped_),
        guard_(std::move(other.guard_)) {}
  PeerMapping& operator=(PeerMapping&& other) noexcept {
    std::swap(begin_, other.begin_);
    std::swap(bytes_, other.bytes_);
    std::swap(mapped_, other.mapped_);
    std::swap(guard_, other.guard_);
    return *this;
  }
  ~PeerMapping();

  [[nodiscard]] std::byte* begin() const noexcept { return begin_; }
  [[nodiscard]] std::uint64_t bytes() const noexcept { return bytes_; }

 private:
  PeerMapping(std::byte* begin, std::uint64_t bytes, std::uint64_t mapped) noexcept
      : begin_(begin), bytes_(bytes), mapped_(mapped) {}

  std::byte* begin_;
  std::uint64_t bytes_;
  std::uint64_t mapped_;  ///< the same in whole pages of the file
  std::optional<FaultGuard> guard_;
};

}  // namespace bellhop
