#pragma once

#include <atomic>

#include "devices/vsock/vsock_muxer.h"
#include "virtio/queue/queue_runner.h"

namespace bellhop {

/// The queue of packets for the guest (virtio 1.3, 5.10.6.1).
class VsockRx final : public QueueHandler {
 public:
  VsockRx(QueueRunner& runner, VsockMuxer& board, VsockCounters& counters) noexcept
      : runner_(runner), board_(board), counters_(counters) {}
  void drain() noexcept override;
  void submit() noexcept override {}

 private:
  bool fill() noexcept;

  QueueRunner& runner_;
  VsockMuxer& board_;
  VsockCounters& counters_;
  DescriptorChain chain_;
  std::size_t unshown_ = 0;  ///< bytes since something was last shown to the driver
};

/// The queue of packets from the guest.
class VsockTx final : public QueueHandler {
 public:
  VsockTx(QueueRunner& runner, VsockMuxer& board, VsockCounters& counters) noexcept
      : runner_(runner), board_(board), counters_(counters) {}
  void drain() noexcept override;
  void submit() noexcept override {}

 private:
  QueueRunner& runner_;
  VsockMuxer& board_;
  VsockCounters& counters_;
  DescriptorChain chain_;
};

/// The queue of events (5.10.6.7): one kind, which waits until the driver has a buffer for it.
class VsockEvents final : public QueueHandler {
 public:
  VsockEvents(QueueRunner& runner, VsockCounters& counters) noexcept
      : runner_(runner), counters_(counters) {}
  void drain() noexcept override;
  void submit() noexcept override {}
  /// The driver is to be told of a transport reset. I/O thread.
  void transport_reset() noexcept;

 private:
  QueueRunner& runner_;
  VsockCounters& counters_;
  DescriptorChain chain_;
  std::atomic<bool> due_{false};
};

}  // namespace bellhop
