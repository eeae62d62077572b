#pragma once

#include <cstddef>
#include <cstdint>

#include "devices/net/net_counters.h"
#include "virtio/queue/queue_runner.h"

namespace bellhop {

/// A NIC's control queue (virtio 1.3, 5.1.6.5): a command at a time, answered at once.
class ControlQueue : public QueueHandler {
 public:
  void drain() noexcept final;
  void submit() noexcept final {}
  std::uint32_t malformed(DescriptorChain& chain) noexcept final;

  /// Carries out the command in the first `bytes` of `request`, all of them: false if it is
  /// unknown, malformed, out of range or was not negotiated. Then nothing has changed.
  [[nodiscard]] virtual bool execute(const BufferRun& request, std::size_t bytes) noexcept = 0;

 protected:
  /// Both outlive it.
  ControlQueue(QueueRunner& runner, NetControlCounters& counters) noexcept
      : runner_(runner), counters_(counters) {}
  ~ControlQueue() = default;

 private:
  QueueRunner& runner_;
  NetControlCounters& counters_;
  DescriptorChain chain_;
};

/// A queue that the driver set up although nothing that it negotiated uses it: nothing is taken.
class UnusedQueue final : public QueueHandler {
 public:
  explicit UnusedQueue(QueueRunner& runner) noexcept : runner_(runner) {}
  void drain() noexcept override { runner_.park(); }
  void submit() noexcept override {}

 private:
  QueueRunner& runner_;
};

}  // namespace bellhop
