#pragma once

#include <array>
#include <chrono>

#include "devices/rng/rng_device.h"

namespace bellhop {

/// The one queue: fills what the driver offers, as far as the limit, the source and the other
/// queues of the thread allow. Who has to wait is in the ring meanwhile, not in here, so a pause or
/// a reset waits for nothing.
///
/// On the queue's I/O thread, or under the runner's queue lock.
class RngQueue final : public QueueHandler, private TimerHandler {
 public:
  /// Of one request and of one turn at most. A driver asks again if it wants more (5.4.6.1).
  static constexpr std::size_t kBytesInOneTurn = 16 * 1024;

  RngQueue(RngDevice& device, QueueRunner& runner) noexcept : device_(device), runner_(runner) {}
  ~RngQueue();

  void drain() noexcept override;
  void submit() noexcept override {}

 private:
  using Clock = std::chrono::steady_clock;

  void on_timer() noexcept override { runner_.wake(); }
  [[nodiscard]] std::size_t allowance() noexcept;
  [[nodiscard]] ssize_t read(std::size_t most) noexcept;
  void put_back_and_wait(ssize_t result) noexcept;
  void wait(std::chrono::nanoseconds time) noexcept;

  RngDevice& device_;
  QueueRunner& runner_;
  DescriptorChain chain_;
  std::array<iovec, kMaxChainBuffers> room_{};
};

}  // namespace bellhop
