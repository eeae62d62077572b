#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <thread>

#include "virtio/device/device_life.h"

namespace bellhop::testing {

/// Has the queues of a device notified in another way, again and again, from a thread of its own:
/// an adaptive one as a NotifyTuner in a hurry would, any other as commands.
class ModeChanger {
 public:
  explicit ModeChanger(DeviceLife& life) : life_(life), thread_([this] { run(); }) {}
  ~ModeChanger() {
    done_ = true;
    thread_.join();
  }
  ModeChanger(const ModeChanger&) = delete;
  ModeChanger& operator=(const ModeChanger&) = delete;

  /// Changes so far.
  [[nodiscard]] unsigned changes() const noexcept { return changes_; }

 private:
  void run() {
    constexpr std::array kModes = {NotifyMode::kSync, NotifyMode::kIoEventFd, NotifyMode::kPoll,
                                   NotifyMode::kIoEventFd};
    for (std::size_t i = 0; !done_; ++i) {
      for (unsigned queue = 0; queue < life_.queue_count(); ++queue) {
        const NotifyMode mode = kModes[(i + queue) % kModes.size()];
        if (change(queue, mode)) ++changes_;
      }
      std::this_thread::sleep_for(std::chrono::microseconds(200));  // others want the lock as well
    }
  }

  bool change(unsigned queue, NotifyMode mode) {
    constexpr std::chrono::milliseconds kMost{1};
    if (tunes_) return life_.change_notify(queue, mode, kMost);
    const NotifyMode wish = changes_ % 5 == 4 ? NotifyMode::kAdaptive : mode;
    return life_.set_notify(queue, {.mode = wish}, kMost).has_value();
  }

  DeviceLife& life_;
  const bool tunes_ = life_.adaptive();
  std::atomic<bool> done_{false};
  std::atomic<unsigned> changes_{0};
  std::thread thread_;
};

}  // namespace bellhop::testing
