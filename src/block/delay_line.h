#pragma once

#include <chrono>
#include <optional>

#include "block/io_list.h"

namespace bellhop {

/// Requests that end so long after they were submitted, in the order of their times: all have one
/// latency, so that the first is the first to end. The clock is the caller's. No allocation.
class DelayLine {
 public:
  using Time = std::chrono::steady_clock::time_point;

  explicit DelayLine(std::chrono::nanoseconds latency) noexcept : latency_(latency) {}

  /// Takes all of `batch`, which is submitted `now`.
  void push(IoList& batch, Time now) noexcept {
    const auto due = static_cast<std::uint64_t>((now + latency_).time_since_epoch().count());
    while (BlockIo* const io = batch.pop()) {
      io->scratch.progress = due;
      line_.push(*io);
    }
  }
  /// The first whose time has come, or null.
  [[nodiscard]] BlockIo* pop(Time now) noexcept {
    const auto first = next();
    return first && *first <= now ? line_.pop() : nullptr;
  }
  /// When the first ends.
  [[nodiscard]] std::optional<Time> next() const noexcept {
    const BlockIo* const first = line_.front();
    if (first == nullptr) return std::nullopt;
    return Time(std::chrono::nanoseconds(first->scratch.progress));
  }

 private:
  std::chrono::nanoseconds latency_;
  IoList line_;
};

}  // namespace bellhop
