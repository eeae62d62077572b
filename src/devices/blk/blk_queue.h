#pragma once

#include <memory>
#include <vector>

#include "devices/blk/blk_device.h"
#include "devices/blk/blk_request.h"
#include "virtio/queue/rate_wait.h"

namespace bellhop {

/// One queue of a disk: takes requests, hands them to the back end as one batch, answers them.
/// Everything here runs on the queue's I/O thread, or under the runner's queue lock.
class BlkQueue final : public QueueHandler, private EventHandler {
 public:
  /// Errors: the back end cannot make another queue.
  static Result<std::unique_ptr<BlkQueue>> create(BlkDevice& device, QueueRunner& runner,
                                                  BlkTraffic& traffic, std::uint64_t features);
  ~BlkQueue();

  [[nodiscard]] const QueueRunner& runner() const noexcept { return runner_; }
  /// QueueRunner::shares_with_vcpu() may have changed: has the back end serve it accordingly. While
  /// the queue does not run. Errors: the back end cannot; all is as it was.
  Status open_anew();

  void drain() noexcept override;
  void submit() noexcept override;
  void will_run(Drain drain) noexcept override;
  std::uint32_t malformed(DescriptorChain& chain) noexcept override;

 private:
  BlkQueue(BlkDevice& device, QueueRunner& runner, BlkTraffic& traffic, std::uint64_t features);

  /// Has the back end make a queue. On the I/O thread.
  Status open(QueueSharing sharing);
  [[nodiscard]] QueueSharing wanted_sharing() const noexcept;
  /// A shared back end has completions to reap.
  void on_event(std::uint64_t count) noexcept override;
  static void on_completed(BlockIo& io, int error) noexcept;

  void count_system_calls() noexcept;
  [[gnu::noinline]] BlkRequest* make_request() noexcept;
  /// False: it has to wait, in the ring, until another one is done or its time has come.
  [[nodiscard]] bool begin(BlkRequest& request) noexcept;
  /// Where there is a rate. False: not now; the queue waits.
  [[nodiscard, gnu::noinline]] bool keeps_rate(std::uint64_t bytes) noexcept;
  void end_long(BlkRequest& request) noexcept;
  void next_range(BlkRequest& request) noexcept;
  void get_id(BlkRequest& request) noexcept;
  void enqueue(BlkRequest& request, BlockOp op, std::uint64_t offset,
               std::uint64_t length) noexcept;
  void count(const BlkRequest& request) noexcept;
  void answer(BlkRequest& request, std::uint8_t status, std::uint32_t written) noexcept;

  BlkDevice& device_;
  QueueRunner& runner_;
  BlkTraffic& traffic_;
  BlkRules rules_;
  bool can_flush_;
  std::unique_ptr<BlockQueue> io_;
  QueueSharing sharing_ = QueueSharing::kLoopOnly;  ///< of `io_`
  /// Room for a request of each entry of the ring. Each is made when so many are first in flight:
  /// memory that none has needed yet is not taken from the host.
  struct Slot {
    alignas(BlkRequest) std::byte bytes[sizeof(BlkRequest)];
  };
  std::unique_ptr<Slot[]> pool_;
  std::size_t depth_ = 0;
  std::size_t made_ = 0;
  BlkRequest* free_ = nullptr;
  std::uint32_t long_ = 0;     ///< of kBlkMaxLongRequests
  bool long_waiting_ = false;  ///< one is in the ring, and the queue parked
  std::uint64_t counted_system_calls_ = 0;
  RateWait rate_;
};

}  // namespace bellhop
