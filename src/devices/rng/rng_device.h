#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/file_roles.h"
#include "base/log_limiter.h"
#include "base/relaxed_counter.h"
#include "base/shared_counter.h"
#include "base/unique_fd.h"
#include "devices/device_config.h"
#include "devices/device_option.h"
#include "virtio/device/virtio_device.h"

namespace bellhop {

/// `--rng src=...`
struct RngConfig : DeviceConfig {
  std::string source = "/dev/urandom";
  std::uint64_t max_bytes = 0;             ///< for each period; 0: without a limit
  std::chrono::milliseconds period{1000};  ///< in which the guest gets `max_bytes` at most

  static const DeviceOption kOption;
  static Result<RngConfig> parse(const PropertyList& properties);
  [[nodiscard]] Status check_files(FileRoles& roles) const;
  void add_needs(HostNeeds& needs) const { needs.add(source, HostUse::kRead); }
};

/// Errors: the source cannot be opened, or is nothing that can be read.
Result<std::unique_ptr<VirtioDevice>> make_device(const RngConfig& config, const DeviceHost& host);

struct RngCounters {
  RelaxedCounter requests;
  RelaxedCounter bytes;
  RelaxedCounter limited;       ///< times the limit made the guest wait
  RelaxedCounter source_empty;  ///< times the source did
  RelaxedCounter source_errors;
  SharedCounter guest_faults;  ///< requests without room for a byte
};

/// virtio-rng (virtio 1.3, 5.4): random bytes from a descriptor of the host.
///
/// Its one queue fills what the driver offers, as far as the limit, the source and the other queues
/// of the thread allow. Who has to wait is in the ring meanwhile, not in here, so a pause or a
/// reset waits for nothing.
class RngDevice final : public VirtioDevice, private QueueHandler, private TimerHandler {
 public:
  /// Of one request and of one turn at most. A driver asks again if it wants more (5.4.6.1).
  static constexpr std::size_t kBytesInOneTurn = 16 * 1024;
  static constexpr std::uint16_t kQueueSize = 64;

  /// `source` does not block.
  RngDevice(UniqueFd source, RngConfig config);

  [[nodiscard]] const DeviceTraits& traits() const noexcept override { return traits_; }
  Status activate(std::uint64_t features, std::span<QueueRunner* const> queues) override;
  void reset() noexcept override;
  [[nodiscard]] std::vector<DeviceStat> stats() const override;

  [[nodiscard]] const RngCounters& counters() const noexcept { return counters_; }

 private:
  using Clock = std::chrono::steady_clock;

  void drain() noexcept override;
  void submit() noexcept override {}
  void on_timer() noexcept override { runner_->wake(); }
  [[nodiscard]] std::size_t allowance() noexcept;
  [[nodiscard]] ssize_t read(std::size_t most) noexcept;
  void put_back_and_wait(std::chrono::nanoseconds time) noexcept;
  void source_failed(ssize_t result) noexcept;

  UniqueFd source_;
  RngConfig config_;
  DeviceTraits traits_;
  RngCounters counters_;
  log::Limiter log_;
  std::atomic<bool> failing_{false};  ///< the source, and that was said
  // A reset begins no new period.
  std::uint64_t left_ = 0;  ///< of this period's bytes
  Clock::time_point period_ends_{};
  // The queue's I/O thread's, or of whoever holds the queue lock, between activate() and reset().
  QueueRunner* runner_ = nullptr;
  DescriptorChain chain_;
  std::array<iovec, kMaxChainBuffers> room_{};
};

}  // namespace bellhop
