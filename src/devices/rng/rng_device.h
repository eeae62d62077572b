#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "base/relaxed_counter.h"
#include "base/shared_counter.h"
#include "base/unique_fd.h"
#include "virtio/device/virtio_device.h"

namespace bellhop {

/// What the guest may have of the source.
struct RngLimit {
  std::uint64_t bytes = 0;  ///< in each period; 0: as many as it likes
  std::chrono::milliseconds period{1000};
};

struct RngOptions {
  std::string id = "rng0";
  std::string source = "/dev/urandom";  ///< its name, for people
  std::uint16_t queue_size = 64;
  RngLimit limit;
};

struct RngCounters {
  RelaxedCounter requests;
  RelaxedCounter bytes;
  RelaxedCounter limited;       ///< times the limit made the guest wait
  RelaxedCounter source_empty;  ///< times the source did
  RelaxedCounter source_errors;
  SharedCounter guest_faults;  ///< requests without room for a byte, writes to registers
};

class RngQueue;

/// virtio-rng (virtio 1.3, 5.4): random bytes from a descriptor of the host.
class RngDevice final : public VirtioDevice {
 public:
  /// `source` does not block.
  RngDevice(UniqueFd source, RngOptions options);
  ~RngDevice() override;

  [[nodiscard]] const DeviceTraits& traits() const noexcept override { return traits_; }
  void read_config(std::uint32_t offset, std::span<std::byte> data) noexcept override;
  void write_config(std::uint32_t offset, std::span<const std::byte> data) noexcept override;
  Status activate(std::uint64_t features, std::span<QueueRunner* const> queues) override;
  void reset() noexcept override;
  [[nodiscard]] std::vector<DeviceStat> stats() const override;

  [[nodiscard]] const RngCounters& counters() const noexcept { return counters_; }

 private:
  friend class RngQueue;

  UniqueFd source_;
  RngOptions options_;
  DeviceTraits traits_;
  RngCounters counters_;
  bool error_logged_ = false;
  // A reset begins no new period.
  std::uint64_t left_ = 0;  ///< of this period's bytes
  std::chrono::steady_clock::time_point period_ends_{};
  std::unique_ptr<RngQueue> queue_;
};

}  // namespace bellhop
