#pragma once

#include <unistd.h>

#include <atomic>
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

class KernelSignal;

/// An eventfd: it stands behind every kick and every call. No call of it waits.
///
/// That holds for one that another process has too, which may clear O_NONBLOCK and fill the
/// counter: share() and adopt() know of it, and from then on the kernel is asked in ways that do
/// not depend on the descriptor's flags. Such a process can still take signals, or make them up.
class EventFd {
 public:
  EventFd() noexcept = default;
  /// Errors: no descriptors or memory left.
  static Result<EventFd> create();
  /// Takes over another process's eventfd, with or without O_NONBLOCK. Errors: KernelSignal::get().
  static Result<EventFd> adopt(UniqueFd fd);
  /// Takes over one of this process's: with O_NONBLOCK, and nobody else has it.
  explicit EventFd(UniqueFd fd) noexcept : fd_(std::move(fd)) {}
  EventFd(EventFd&& other) noexcept
      : fd_(std::move(other.fd_)), shared_(other.shared_.exchange(nullptr)) {}
  EventFd& operator=(EventFd&& other) noexcept {
    fd_ = std::move(other.fd_);
    shared_ = other.shared_.exchange(nullptr);
    return *this;
  }
  ~EventFd() = default;

  /// For the kernel's use, and for polling. Another process gets it by share() only.
  [[nodiscard]] int get() const noexcept { return fd_.get(); }
  [[nodiscard]] bool valid() const noexcept { return fd_.valid(); }

  /// The descriptor, to be sent to another process. Any thread, also while others signal. Errors:
  /// KernelSignal::get().
  [[nodiscard]] Result<int> share() const;
  [[nodiscard]] bool shared() const noexcept {
    return shared_.load(std::memory_order_acquire) != nullptr;
  }

  /// Adds one to the counter. A counter at its maximum is signalled already.
  void signal() const noexcept;
  /// Takes the counter down to zero and returns what it held; 0 if nothing was pending.
  std::uint64_t consume() const noexcept;

 private:
  UniqueFd fd_;
  mutable std::atomic<const KernelSignal*> shared_{nullptr};
};

}  // namespace bellhop
