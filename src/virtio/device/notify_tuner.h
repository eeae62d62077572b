#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <random>
#include <vector>

#include "base/cpu_meter.h"
#include "base/result.h"
#include "event/io_thread.h"
#include "virtio/device/device_life.h"
#include "virtio/queue/notify_choice.h"

namespace bellhop {

/// Chooses how the queues of devices with notify=adaptive are notified while they run, each by
/// itself: measures slots (NotifyChoice) by the queue's completions, the clock and the CPU time of
/// the process, and has the device change over. One queue is tried at a time.
///
/// For the latency of a queue it looks at its indices some thousand times a second, in the slots of
/// a trial alone: whoever serves the queue has nothing to do for it.
///
/// Has a thread of its own, since a change waits for the queue's I/O thread. It touches no ring and
/// no counter but to read them.
class NotifyTuner final : private TimerHandler {
 public:
  /// Errors: no thread or no loop to be had.
  static Result<std::unique_ptr<NotifyTuner>> create();
  /// Before the devices go that it has.
  ~NotifyTuner();
  NotifyTuner(const NotifyTuner&) = delete;
  NotifyTuner& operator=(const NotifyTuner&) = delete;

  /// Takes on all adaptive queues of a device, until remove().
  void add(DeviceLife& life);
  /// Before the device goes. None of its queues is being changed when this returns.
  void remove(const DeviceLife& life);

 private:
  using Clock = std::chrono::steady_clock;

  struct Tuned {
    DeviceLife* life;
    unsigned queue;
    NotifyChoice choice;
    bool settling = false;  ///< the mode has just changed
    Clock::time_point due{};
    // When the slot began:
    std::uint64_t completions = 0;
    Clock::time_point since{};
    CpuMeter cpu = {};
    // In the slot:
    Clock::time_point next_look{};
    std::uint64_t outstanding = 0;
    std::uint64_t looks = 0;

    [[nodiscard]] bool is_looked_at() const noexcept { return !settling && choice.looks(); }
  };

  NotifyTuner() = default;
  void on_timer() noexcept override;
  void step(Tuned& tuned) noexcept;
  void begin_slot(Tuned& tuned) noexcept;
  void look(Tuned& tuned) noexcept;
  [[nodiscard]] Clock::duration until_next_look() noexcept;

  std::unique_ptr<IoThread> thread_;
  // The thread's:
  std::vector<Tuned> tuned_;
  std::minstd_rand random_;
};

}  // namespace bellhop
