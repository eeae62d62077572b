#pragma once

#include <atomic>
#include <memory>
#include <span>
#include <vector>

#include "devices/net/net_counters.h"
#include "devices/net/net_device.h"
#include "virtio/queue/rate_wait.h"

namespace bellhop {

/// A receive queue (virtio 1.3, 5.1.6.3): the back end writes frames straight into the driver's
/// buffers.
///
/// How long a frame is shows only when it has been read, and a tap cuts off what does not fit. So
/// each read is offered the buffers that frames have needed lately, and behind them a place of our
/// own (`spill_`) that holds the rest of any frame. What ends there is copied: only when frames
/// become longer than they were, and only what they are longer by. Without it, every read would
/// have to be offered 64 KiB of buffers: 43 chains of a Linux driver, for frames of 60 bytes.
///
/// With mergeable buffers a frame that needs more of them than there are is kept until the driver
/// brings more, though not for ever.
///
/// On the queue's I/O thread, or under the runner's queue lock.
class NetRx final : public QueueHandler, private ReadyHandler, private TimerHandler {
 public:
  /// Errors: the back end's descriptor cannot be waited for.
  static Result<std::unique_ptr<NetRx>> create(NetDevice& device, unsigned pair,
                                               QueueRunner& runner);
  ~NetRx();

  void drain() noexcept override;
  void submit() noexcept override {}
  void release() noexcept override { put_back(); }

  /// The pair is in use from now on. Any thread.
  void taken_into_use() noexcept;

 private:
  enum class Next : std::uint8_t {
    kFrame,  ///< try the next one
    kWait,   ///< nothing to be done before something happens
  };

  NetRx(NetDevice& device, unsigned pair, QueueRunner& runner);
  void on_ready() noexcept override { runner_.wake(); }
  void on_timer() noexcept override;

  // Chains taken from the ring and not used yet, in their order.
  [[nodiscard]] DescriptorChain& chain(std::size_t i) noexcept;
  bool take() noexcept;
  void gather(std::size_t bytes) noexcept;
  void put_back() noexcept;
  void copy_in(std::size_t offset, std::span<const std::byte> from) noexcept;

  Next receive() noexcept;
  Next nothing_came(ssize_t result) noexcept;
  std::size_t lay_out_room() noexcept;
  [[nodiscard]] bool is_wanted(std::size_t bytes) noexcept;
  void deliver(std::size_t bytes) noexcept;
  void adapt(std::size_t bytes) noexcept;
  void park(std::size_t bytes, std::size_t in_chains) noexcept;
  Next unpark() noexcept;
  void wait_for_frames() noexcept;

  NetDevice& device_;
  unsigned index_;
  NetPair& pair_;
  QueueRunner& runner_;
  NetRxCounters& counters_;
  bool mergeable_;
  std::unique_ptr<FdWatch> watch_;

  std::size_t max_chains_;                     ///< at hand; a power of two
  std::unique_ptr<DescriptorChain[]> chains_;  ///< a ring of them
  std::size_t first_ = 0;
  std::size_t held_ = 0;
  std::size_t held_bytes_ = 0;
  std::size_t unshown_ = 0;  ///< bytes since something was last shown to the driver
  std::size_t wanted_;       ///< bytes that a frame is expected to need at most

  std::vector<iovec> room_;
  std::size_t room_count_ = 0;
  std::unique_ptr<std::byte[]> spill_;
  std::size_t parked_ = 0;  ///< bytes of the frame that waits in spill_
  std::atomic<bool> patience_over_{false};
  RateWait rate_;
};

}  // namespace bellhop
