#pragma once

#include <cstdint>
#include <memory>

#include "devices/net/frame_train.h"
#include "devices/net/net_counters.h"
#include "devices/net/net_device.h"
#include "virtio/queue/rate_wait.h"

namespace bellhop {

/// A transmit queue (virtio 1.3, 5.1.6.2): frames go from guest memory to the back end where they
/// lie, but for their heads, of which a checked copy is sent. Frames of a batch that go together
/// leave as a train. If the back end has no room the frames go back to the ring until there is
/// some.
///
/// On the queue's I/O thread, or under the runner's queue lock.
class NetTx final : public QueueHandler, private ReadyHandler {
 public:
  /// Errors: the back end's descriptor cannot be waited for.
  static Result<std::unique_ptr<NetTx>> create(NetDevice& device, unsigned pair,
                                               QueueRunner& runner);
  ~NetTx();

  void drain() noexcept override;
  void submit() noexcept override {}

 private:
  static constexpr std::size_t kMaxChains = FrameTrain::kMaxFrames + 1;
  static_assert((kMaxChains & (kMaxChains - 1)) == 0);

  enum class Sent : std::uint8_t {
    kAll,
    kNoRoom,  ///< nothing left; all chains at hand are to go back to the ring for now
    kLater,   ///< the same: the NIC's rate is used up
    kSingly,  ///< the same: the host refuses a train, and is to get its frames one by one
  };

  NetTx(NetDevice& device, unsigned pair, QueueRunner& runner);
  void on_ready() noexcept override { runner_.wake(); }
  [[nodiscard]] DescriptorChain& chain(std::size_t i) noexcept;
  Sent take() noexcept;
  [[nodiscard]] RelaxedCounter* look_at(DescriptorChain& chain, FrameTrain::Frame& frame) noexcept;
  Sent send() noexcept;
  void give_back(std::size_t chains) noexcept;
  void put_back() noexcept;
  void judge(ssize_t result) noexcept;
  void wait_for_room() noexcept;
  void flush() noexcept;
  void arm() noexcept;

  NetDevice& device_;
  unsigned index_;
  NetPair& pair_;
  QueueRunner& runner_;
  NetTxCounters& counters_;
  std::unique_ptr<FdWatch> watch_;
  bool joins_;  ///< frames to trains

  std::unique_ptr<DescriptorChain[]> chains_;  ///< a ring of kMaxChains
  std::size_t first_ = 0;
  std::size_t held_ = 0;  ///< chains at hand: the train's, and then the one that is looked at
  FrameTrain train_;
  RateWait rate_;
  std::size_t unshown_ = 0;  ///< given back since some were shown to the driver
};

}  // namespace bellhop
