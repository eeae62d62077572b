#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

#include "virtio/abi/config.h"
#include "virtio/queue/interrupt.h"

namespace bellhop {

/// The interrupt status register that all interrupts of a device share (PCI's ISR, 4.1.4.5; mmio's
/// InterruptStatus, 4.2.2). Each interrupt has a word on its own cache line, so that queues on
/// different threads do not share one; the register is all of them together. Any thread.
class InterruptStatus {
 public:
  /// One word for each queue and one for configuration changes.
  explicit InterruptStatus(unsigned queues) : words_(queues + 1U) {}

  void bind_queue(unsigned queue, GuestInterrupt& interrupt) noexcept {
    interrupt.set_status_register(words_[queue].bits, virtio::kInterruptUsedBuffer);
  }
  void bind_config(GuestInterrupt& interrupt) noexcept {
    interrupt.set_status_register(words_.back().bits, virtio::kInterruptConfig);
  }

  [[nodiscard]] std::uint32_t read() const noexcept {
    std::uint32_t bits = 0;
    for (const Word& word : words_) bits |= word.bits.load(std::memory_order_acquire);
    return bits;
  }
  /// Clears `bits` and returns what was set of them.
  std::uint32_t take(std::uint32_t bits) noexcept {
    std::uint32_t taken = 0;
    // The full barrier of the exchange pairs with the one in GuestInterrupt::prepare(): either we
    // clear the new bit, and the driver that looks at the rings next sees what it stands for, or it
    // stays.
    for (Word& word : words_) taken |= word.bits.fetch_and(~bits, std::memory_order_acq_rel);
    return taken & bits;
  }

 private:
  struct alignas(64) Word {
    std::atomic<std::uint32_t> bits{0};
  };
  std::vector<Word> words_;
};

}  // namespace bellhop
