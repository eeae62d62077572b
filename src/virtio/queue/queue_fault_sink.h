#pragma once

namespace bellhop {

/// Told when a queue cannot go on until the device is reset. Any thread.
class QueueFaultSink {
 public:
  virtual void queue_broken() noexcept = 0;

 protected:
  ~QueueFaultSink() = default;
};

}  // namespace bellhop
