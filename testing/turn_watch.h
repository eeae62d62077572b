#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <functional>

#include "event/io_thread.h"

namespace bellhop::testing {

/// A bystander on an I/O thread: has a turn in each round of its loop, and sees how much of
/// something was done there between two of them.
class TurnWatch {
 public:
  /// `count` says how much has been done so far; it is called on the thread.
  TurnWatch(IoThread& thread, std::function<std::uint64_t()> count)
      : thread_(thread), count_(std::move(count)) {
    thread_.run_sync([this] {
      last_ = count_();
      thread_.loop().post([this] { turn(); });
    });
  }
  ~TurnWatch() {
    ending_ = true;
    // Behind the last turn, and the one that it may still post.
    for (int i = 0; i < 2; ++i) thread_.run_sync([] {});
  }
  TurnWatch(const TurnWatch&) = delete;
  TurnWatch& operator=(const TurnWatch&) = delete;

  /// Between two turns, at most.
  [[nodiscard]] std::uint64_t most() const noexcept { return most_; }
  [[nodiscard]] std::uint64_t turns() const noexcept { return turns_; }

 private:
  void turn() {
    const std::uint64_t now = count_();
    most_ = std::max(most_.load(), now - last_);
    last_ = now;
    ++turns_;
    if (!ending_) thread_.loop().post([this] { turn(); });
  }

  IoThread& thread_;
  std::function<std::uint64_t()> count_;
  std::uint64_t last_ = 0;
  std::atomic<std::uint64_t> most_{0};
  std::atomic<std::uint64_t> turns_{0};
  std::atomic<bool> ending_{false};
};

}  // namespace bellhop::testing
