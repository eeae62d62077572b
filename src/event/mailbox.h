#pragma once

#include <atomic>
#include <functional>
#include <mutex>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "event/event_loop.h"

namespace bellhop {

/// What other threads have to say to a loop: messages, and that it shall stop. The loop watches
/// event() like any other eventfd.
class Mailbox final : public EventHandler {
 public:
  /// Errors: no descriptors left.
  Status open();

  /// Any thread.
  void post(std::function<void()> message);
  /// Any thread.
  void stop() noexcept;

  /// True once for each stop(), to the loop's thread.
  [[nodiscard]] bool take_stop() noexcept {
    return stop_.load(std::memory_order_relaxed) && stop_.exchange(false);
  }
  [[nodiscard]] const EventFd& event() const noexcept { return event_; }

  void on_event(std::uint64_t count) noexcept override;

 private:
  EventFd event_;
  std::atomic<bool> stop_{false};
  std::mutex mutex_;
  std::vector<std::function<void()>> messages_;  // under mutex_
};

}  // namespace bellhop
