#pragma once

#include <cstdint>

#include "base/unique_fd.h"

namespace bellhop {

/// Whether a sleeping driver is woken by the first answers of a batch, while the rest of it is
/// still being served, or by the whole of it.
///
/// A driver that has a CPU of its own works on the first answers meanwhile. Where it takes the CPU
/// from the I/O thread, it finds one answer and sleeps again, and the next one wakes it again: the
/// batch comes apart, at two switches and an interrupt for each request. So a signal that costs the
/// I/O thread its CPU has the batches after it shown as a whole. After a pause, which doubles each
/// time that this happens again, it is tried anew.
///
/// Belongs to whoever drains the queue; a vCPU that does so signals by itself.
class EarlyShow {
 public:
  static constexpr unsigned kFirstPause = 8;  ///< batches
  static constexpr unsigned kMaxPause = 256;

  [[nodiscard]] bool pays() const noexcept { return left_ == 0; }

  /// Signals in the middle of a batch. Two system calls more, to see what it costs: not for what
  /// cannot come apart.
  void signal(const EventFd& event) noexcept;
  /// `lost`: a signal in the middle of a batch has cost the thread its CPU.
  void weigh(bool lost) noexcept;
  void batch_over() noexcept {
    if (left_ != 0) --left_;
  }

 private:
  unsigned left_ = 0;  ///< batches that are shown as a whole
  unsigned pause_ = kFirstPause;
};

}  // namespace bellhop
