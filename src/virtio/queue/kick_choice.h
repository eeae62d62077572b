#pragma once

#include <array>
#include <cstdint>

#include "virtio/ring/queue_counters.h"

namespace bellhop {

/// Whether the driver is asked to kick although the I/O thread is awake and would see its requests
/// without.
///
/// A driver that has nothing else to do sleeps once it has offered its requests, and is woken by an
/// interrupt: an exit for its HLT, an injection, a handler. Where the medium answers at once, they
/// are done by the time that a kick takes, which is one light exit: the driver finds them when the
/// kick returns, and neither sleeps nor is interrupted. A driver that is busy, or that waits for
/// a disk, would kick for nothing.
///
/// So both are tried, in windows of kWindow requests, and kicks are asked for as long as they and
/// the interrupts that are left cost less than the interrupts without them. A kick is taken for
/// half of an interrupt, one that comes as an exit to user space for two. The other way is tried
/// again after a pause that doubles each time that it proves to be the worse one.
///
/// Belongs to whoever drains the queue.
class KickChoice {
 public:
  static constexpr std::uint64_t kWindow = 256;
  static constexpr unsigned kMaxPause = 64;  ///< windows

  [[nodiscard]] bool asks() const noexcept { return asks_; }

  /// After each turn, with the queue's counters. `answered`: nothing of the turn is under way
  /// still.
  void weigh(const QueueCounters& counters, bool answered) noexcept {
    if (counters.chains.get() - chains_ >= kWindow) end_window(counters, answered);
  }
  /// The ring has been started anew: nothing is known of its driver.
  void start(const QueueCounters& counters) noexcept {
    *this = {};
    begin_window(counters);
  }

 private:
  void begin_window(const QueueCounters& counters) noexcept;
  void end_window(const QueueCounters& counters, bool answered) noexcept;

  bool asks_ = false;
  bool asking_is_better_ = false;        ///< when last compared; asks_ differs while it is tried
  unsigned left_ = 0;                    ///< windows until the other way is tried
  unsigned pause_ = 1;                   ///< what left_ will be next
  std::array<std::uint64_t, 2> cost_{};  ///< of the last window without kicks, and with them
  std::uint64_t chains_ = 0;             ///< the counters when this window began
  std::uint64_t kicks_ = 0;
  std::uint64_t exits_ = 0;
  std::uint64_t interrupts_ = 0;
};

}  // namespace bellhop
