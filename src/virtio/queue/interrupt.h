#pragma once

#include <atomic>
#include <cstdint>

#include "base/unique_fd.h"

namespace bellhop {

/// How a device notifies the guest of one kind of event: an irqfd, a vhost-user call fd, or a
/// test's eventfd. The transport points it at another vector while the device runs; the eventfds
/// that it points at live as long as the transport.
class GuestInterrupt {
 public:
  GuestInterrupt() noexcept = default;
  GuestInterrupt(const GuestInterrupt&) = delete;
  GuestInterrupt& operator=(const GuestInterrupt&) = delete;

  /// Null: the driver wants no interrupt (NO_VECTOR).
  void point_at(const EventFd* event) noexcept { event_.store(event, std::memory_order_release); }
  /// Transports with an interrupt status register: `bits` are set there before each interrupt.
  void set_status_register(std::atomic<std::uint32_t>& status, std::uint32_t bits) noexcept {
    status_ = &status;
    bits_ = bits;
  }

  /// What to signal now, after the status bits are set; null if nothing.
  [[nodiscard]] const EventFd* prepare() noexcept {
    if (status_ != nullptr) status_->fetch_or(bits_, std::memory_order_release);
    return event_.load(std::memory_order_acquire);
  }
  /// What is signalled now, if a back end does it.
  [[nodiscard]] const EventFd* event() const noexcept {
    return event_.load(std::memory_order_acquire);
  }
  /// Raises it at once.
  void raise() noexcept {
    if (const EventFd* event = prepare()) event->signal();
  }

 private:
  std::atomic<const EventFd*> event_{nullptr};
  std::atomic<std::uint32_t>* status_ = nullptr;
  std::uint32_t bits_ = 0;
};

}  // namespace bellhop
