#pragma once

#include "devices/net/control_queue.h"

namespace bellhop {

class VhostUserNetDevice;

/// The control queue of a NIC whose pairs another process serves: how many of them are in use
/// (virtio 1.3, 5.1.6.5.5) is all that it is asked.
class PairControl final : public ControlQueue {
 public:
  PairControl(VhostUserNetDevice& device, QueueRunner& runner,
              NetControlCounters& counters) noexcept
      : ControlQueue(runner, counters), device_(device) {}

  [[nodiscard]] bool execute(const BufferRun& request, std::size_t bytes) noexcept override;

 private:
  VhostUserNetDevice& device_;
};

}  // namespace bellhop
