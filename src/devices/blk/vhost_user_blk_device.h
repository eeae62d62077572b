#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/shared_counter.h"
#include "vhost_user/process_served_device.h"

namespace bellhop {

/// virtio-blk (virtio 1.3, 5.2) whose medium and queues another process has. The configuration
/// space is the back end's, but for the number of queues and a bound for segments, and so are the
/// features, as far as we know them: what neither its first 60 bytes nor the features up to
/// WRITE_ZEROES and LIFETIME say (secure erase, zones) is not offered.
class VhostUserBlkDevice final : public ProcessServedDevice {
 public:
  struct Options {
    std::string id = "disk0";
    std::uint16_t queues = 1;
    std::uint16_t queue_size = 256;
    /// Of RING_PACKED and IN_ORDER, what is offered where the back end has it.
    std::uint64_t more_ring_features = 0;
  };

  /// Errors: no connection, or a back end that lacks something.
  static Result<std::unique_ptr<VhostUserBlkDevice>> create(const Options& options,
                                                            VhostUserFront::Connect connect,
                                                            Patience patience = Patience{5000});

  void read_config(std::uint32_t offset, std::span<std::byte> data) noexcept override;
  void write_config(std::uint32_t offset, std::span<const std::byte> data) noexcept override;
  void reset() noexcept override;
  [[nodiscard]] std::vector<DeviceStat> stats() const override;

 private:
  VhostUserBlkDevice(const Options& options, std::unique_ptr<VhostUserFront> front);
  bool set_writeback(std::uint8_t value) noexcept;

  /// As it was before a driver wrote it; kNotWritten: none has.
  static constexpr int kNotWritten = -1;
  std::atomic<int> writeback_before_{kNotWritten};
  SharedCounter guest_faults_;
};

}  // namespace bellhop
