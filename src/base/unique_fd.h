#pragma once

#include <unistd.h>

#include <cstdint>
#include <utility>

#include "base/result.h"

namespace bellhop {

/// Owns one file descriptor. A bare int appears only at the system call.
class UniqueFd {
 public:
  UniqueFd() noexcept = default;
  explicit UniqueFd(int fd) noexcept : fd_(fd) {}
  UniqueFd(UniqueFd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept {
    if (this != &other) {
      reset();
      fd_ = std::exchange(other.fd_, -1);
    }
    return *this;
  }
  ~UniqueFd() { reset(); }

  [[nodiscard]] int get() const noexcept { return fd_; }
  [[nodiscard]] bool valid() const noexcept { return fd_ >= 0; }
  [[nodiscard]] int release() noexcept { return std::exchange(fd_, -1); }
  void reset() noexcept {
    if (fd_ >= 0) ::close(std::exchange(fd_, -1));
  }

 private:
  int fd_ = -1;
};

/// A non-blocking eventfd: the carrier of every kick and every call.
class EventFd {
 public:
  EventFd() noexcept = default;
  /// Errors: no descriptors or memory left.
  static Result<EventFd> create();
  /// Takes over an eventfd made elsewhere (a vhost-user peer's kick or call fd).
  explicit EventFd(UniqueFd fd) noexcept : fd_(std::move(fd)) {}

  [[nodiscard]] int get() const noexcept { return fd_.get(); }
  [[nodiscard]] bool valid() const noexcept { return fd_.valid(); }

  /// Adds one to the counter. Never blocks: a counter at its maximum is signalled already.
  void signal() const noexcept;
  /// Takes the counter down to zero and returns what it held; 0 if nothing was pending.
  std::uint64_t consume() const noexcept;

 private:
  UniqueFd fd_;
};

}  // namespace bellhop
