#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "devices/console/console_backend.h"
#include "devices/console/console_control.h"
#include "devices/console/console_port.h"
#include "devices/console/console_window.h"
#include "virtio/device/virtio_device.h"

namespace bellhop {

struct ConsolePortOptions {
  std::string name;  ///< empty: a console
  std::unique_ptr<ConsoleBackend> backend;
};

struct ConsoleOptions {
  std::string id = "console0";
  std::uint16_t queue_size = 128;
  std::shared_ptr<ConsoleWindow> window;  ///< may be null
};

/// virtio-console (virtio 1.3, 5.3): ports, each with a back end of its own, and the control queues
/// that tell driver and device of them.
class ConsoleDevice final : public VirtioDevice, private ConsolePortListener, private TimerHandler {
 public:
  static constexpr std::size_t kMaxPorts = 31;

  /// One port at least.
  ConsoleDevice(std::vector<ConsolePortOptions> ports, ConsoleOptions options);
  ~ConsoleDevice() override;

  [[nodiscard]] const DeviceTraits& traits() const noexcept override { return traits_; }
  void read_config(std::uint32_t offset, std::span<std::byte> data) noexcept override;
  void write_config(std::uint32_t offset, std::span<const std::byte> data) noexcept override;
  Status activate(std::uint64_t features, std::span<QueueRunner* const> queues) override;
  void reset() noexcept override;
  [[nodiscard]] std::vector<std::byte> save_state() override;
  Status load_state(std::span<const std::byte> state) override;
  [[nodiscard]] std::vector<DeviceStat> stats() const override;
  [[nodiscard]] std::string host_end() const override { return ports_.front()->backend().place(); }

  /// The window of the consoles has another size now. Any thread.
  void set_size(std::uint16_t cols, std::uint16_t rows) noexcept;

  [[nodiscard]] const ConsoleCounters& counters() const noexcept { return counters_; }

 private:
  void guest_opened(unsigned port, bool open) noexcept override;
  void control_pending() noexcept override;
  void on_timer() noexcept override;
  void announce_size() noexcept;
  void set_control_handlers(std::span<QueueRunner* const> queues);
  [[nodiscard]] virtio::ConsoleSize size() const noexcept;

  ConsoleOptions options_;
  DeviceTraits traits_;
  ConsoleCounters counters_;
  ConsoleControl control_;
  std::vector<std::unique_ptr<ConsolePort>> ports_;
  std::vector<ConsolePortState> restored_;  ///< for the next activate(); empty: it begins anew
  std::atomic<std::uint32_t> size_{0};      ///< columns in the low half, rows in the high one

  std::mutex announce_lock_;      // guards what follows; taken by those who change the size
  IoThread* thread_ = nullptr;    ///< between activate() and reset()
  bool announce_posted_ = false;  ///< a message is on its way
  // The I/O thread's: changes of the size that come fast are told as one.
  bool resting_ = false;
  bool changed_again_ = false;

  class Unused;
  std::unique_ptr<ConsoleControlRx> control_rx_;
  std::unique_ptr<ConsoleControlTx> control_tx_;
  std::vector<std::unique_ptr<Unused>> unused_;
};

}  // namespace bellhop
