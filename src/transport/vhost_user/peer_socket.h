#pragma once

#include "base/result.h"
#include "base/unique_fd.h"

namespace bellhop {

/// A ring's call that is a socket: User Mode Linux has one in the place of an eventfd, since it
/// needs signals (SIGIO) of what it waits for. It reads eight bytes a call.
class PeerSocket {
 public:
  /// Whether it is a Unix socket of the kind of streams: to send to it waits for nothing that the
  /// peer does with its end, as sending over a network's socket or into a pipe may.
  static bool is_one(const UniqueFd& fd) noexcept;
  /// `fd` is one.
  explicit PeerSocket(UniqueFd fd) noexcept : fd_(std::move(fd)) {}

  /// One call. A socket that has no room is one whose reader has been called already.
  void call() const noexcept;

 private:
  UniqueFd fd_;
};

}  // namespace bellhop
