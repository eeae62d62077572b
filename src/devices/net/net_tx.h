#pragma once

#include <array>
#include <memory>

#include "devices/net/net_counters.h"
#include "devices/net/net_device.h"

namespace bellhop {

/// A transmit queue (virtio 1.3, 5.1.6.2): frames go from guest memory to the back end where they
/// lie, but for their header, of which a checked copy is sent. If the back end has no room the
/// frame goes back to the ring until there is some.
///
/// On the queue's I/O thread, or under the runner's baton.
class NetTx final : public QueueHandler, private ReadyHandler {
 public:
  /// Errors: the back end's descriptor cannot be waited for.
  static Result<std::unique_ptr<NetTx>> create(NetDevice& device, unsigned pair,
                                               QueueRunner& runner);
  ~NetTx();

  void drain() noexcept override;
  void submit() noexcept override {}

 private:
  NetTx(NetDevice& device, unsigned pair, QueueRunner& runner) noexcept;
  void on_ready() noexcept override { runner_.wake(); }
  bool send() noexcept;
  void give_back() noexcept;
  void judge(ssize_t result, std::size_t frame_bytes) noexcept;
  void wait_for_room() noexcept;
  void flush() noexcept;
  void arm() noexcept;

  NetDevice& device_;
  unsigned index_;
  NetPair& pair_;
  QueueRunner& runner_;
  NetTxCounters& counters_;
  std::unique_ptr<FdWatch> watch_;
  DescriptorChain chain_;
  unsigned given_back_ = 0;
  std::array<iovec, kMaxChainBuffers + 1> frame_;
};

}  // namespace bellhop
