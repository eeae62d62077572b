#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "bus/bus.h"
#include "testing/fake_hypervisor.h"
#include "virtio/abi/pci.h"
#include "virtio/ring/queue_config.h"

namespace bellhop::testing {

/// What a guest's loads and stores do: an ioeventfd takes a store, or it exits to a bus.
class GuestPort {
 public:
  GuestPort(FakeVm& vm, const Bus& ports, const Bus& mmio)
      : vm_(&vm), ports_(&ports), mmio_(&mmio) {}
  virtual ~GuestPort() = default;
  GuestPort(const GuestPort&) = delete;
  GuestPort& operator=(const GuestPort&) = delete;

  /// `width` is 1, 2, 4 or 8 bytes.
  [[nodiscard]] std::uint64_t load(std::uint64_t address, unsigned width) const;
  void store(std::uint64_t address, std::uint64_t value, unsigned width);
  [[nodiscard]] std::uint32_t in(std::uint16_t port, unsigned width) const;
  void out(std::uint16_t port, std::uint32_t value, unsigned width);

  /// Stores that no ioeventfd took.
  [[nodiscard]] std::uint64_t exits() const noexcept { return exits_; }
  /// Stores that one did.
  [[nodiscard]] std::uint64_t rings() const noexcept { return rings_; }

 protected:
  /// For a guest whose exits are taken elsewhere.
  explicit GuestPort(FakeVm& vm) : vm_(&vm) {}
  /// An access that exits; a read's answer goes to `data`.
  virtual void exit(VcpuExit::Reason reason, std::uint64_t address,
                    std::span<std::byte> data) const;

 private:
  FakeVm* vm_;
  const Bus* ports_ = nullptr;
  const Bus* mmio_ = nullptr;
  std::atomic<std::uint64_t> exits_{0};
  std::atomic<std::uint64_t> rings_{0};
};

/// A driver that knows a device by its registers only, and brings it up as the standard says
/// (virtio 1.3, 3.1.1). Single accesses are public for drivers that do not.
class RegisterDriver {
 public:
  explicit RegisterDriver(GuestPort& port) : port_(&port) {}
  virtual ~RegisterDriver() = default;
  RegisterDriver(const RegisterDriver&) = delete;
  RegisterDriver& operator=(const RegisterDriver&) = delete;

  [[nodiscard]] virtual std::uint8_t status() = 0;
  virtual void set_status(std::uint8_t status) = 0;
  [[nodiscard]] virtual std::uint64_t device_features() = 0;
  virtual void set_driver_features(std::uint64_t features) = 0;
  /// 0: no such queue.
  [[nodiscard]] virtual std::uint32_t queue_max_size(std::uint16_t queue) = 0;
  virtual void write_queue(std::uint16_t queue, const QueueConfig& config) = 0;
  virtual void enable_queue(std::uint16_t queue) = 0;
  [[nodiscard]] virtual bool queue_enabled(std::uint16_t queue) = 0;
  virtual void reset_queue(std::uint16_t queue) = 0;
  /// What the register of that reset says.
  [[nodiscard]] virtual bool queue_in_reset(std::uint16_t queue) = 0;
  [[nodiscard]] virtual std::uint64_t queue_desc(std::uint16_t queue) = 0;
  [[nodiscard]] virtual std::uint64_t config_address() const = 0;
  virtual void kick(std::uint16_t queue) = 0;
  /// The same where NOTIFICATION_DATA was negotiated; `next` is what is said of the ring.
  virtual void kick_with_data(std::uint16_t queue, std::uint16_t next) = 0;

  /// From reset to FEATURES_OK. False if the device does not take the features.
  bool negotiate(std::uint64_t features);
  /// All the way to DRIVER_OK with these queues.
  bool bring_up(std::uint64_t features, std::span<const QueueConfig> queues);

  [[nodiscard]] GuestPort& port() noexcept { return *port_; }

 protected:
  GuestPort* port_;
};

/// By PCI: configuration ports, capabilities, one BAR.
class PciRegisterDriver final : public RegisterDriver {
 public:
  PciRegisterDriver(GuestPort& port, unsigned device) : RegisterDriver(port), device_(device) {}

  [[nodiscard]] std::uint32_t config_read(std::uint32_t offset, unsigned width) const;
  void config_write(std::uint32_t offset, std::uint32_t value, unsigned width);
  /// Offsets of all capabilities with this id, in the order of the list.
  [[nodiscard]] std::vector<std::uint32_t> capabilities(std::uint8_t id) const;

  /// Finds BAR and capabilities, the first time; turns decoding, bus mastering and MSI-X on.
  bool probe();
  /// Reads the BAR's address anew.
  void locate();
  void set_command(std::uint16_t command);
  void move_bar(std::uint64_t address);
  [[nodiscard]] std::uint64_t bar() const noexcept { return bar_; }
  [[nodiscard]] std::uint64_t bar_bytes();

  void write_vector(unsigned vector, std::uint64_t address, std::uint32_t data, bool masked);
  void mask_vector(unsigned vector, bool masked);
  [[nodiscard]] std::uint64_t pending_bits() const;
  void set_msix_control(std::uint16_t control);

  [[nodiscard]] std::uint64_t common(std::uint32_t offset, unsigned width) const;
  void set_common(std::uint32_t offset, std::uint64_t value, unsigned width);
  [[nodiscard]] std::uint64_t notify_address(std::uint16_t queue);

  /// Through the configuration access capability (4.1.4.9).
  [[nodiscard]] std::uint32_t window_read(std::uint32_t offset, unsigned width);
  void window_write(std::uint32_t offset, std::uint32_t value, unsigned width);
  [[nodiscard]] std::uint32_t notify_offset() const noexcept { return notify_; }
  [[nodiscard]] std::uint32_t common_offset() const noexcept { return common_; }
  [[nodiscard]] std::uint32_t table_offset() const noexcept { return table_; }
  [[nodiscard]] std::uint32_t pending_offset() const noexcept { return pending_; }
  [[nodiscard]] std::uint32_t isr_offset() const noexcept { return isr_; }
  [[nodiscard]] std::uint32_t window() const noexcept { return window_; }

  [[nodiscard]] std::uint8_t status() override;
  void set_status(std::uint8_t status) override;
  [[nodiscard]] std::uint64_t device_features() override;
  void set_driver_features(std::uint64_t features) override;
  [[nodiscard]] std::uint32_t queue_max_size(std::uint16_t queue) override;
  void write_queue(std::uint16_t queue, const QueueConfig& config) override;
  void enable_queue(std::uint16_t queue) override;
  [[nodiscard]] bool queue_enabled(std::uint16_t queue) override;
  void reset_queue(std::uint16_t queue) override;
  [[nodiscard]] bool queue_in_reset(std::uint16_t queue) override;
  [[nodiscard]] std::uint64_t queue_desc(std::uint16_t queue) override;
  [[nodiscard]] std::uint64_t config_address() const override { return bar_ + device_config_; }
  void kick(std::uint16_t queue) override;
  void kick_with_data(std::uint16_t queue, std::uint16_t next) override;

 private:
  bool find();

  unsigned device_;
  std::uint32_t bar_offset_ = virtio::kPciBar0Offset;
  std::uint64_t bar_ = 0;
  std::uint32_t common_ = 0;
  std::uint32_t notify_ = 0;
  std::uint32_t multiplier_ = 0;
  std::uint32_t isr_ = 0;
  std::uint32_t device_config_ = 0;
  std::uint32_t window_ = 0;
  std::uint32_t msix_ = 0;
  std::uint32_t table_ = 0;
  std::uint32_t pending_ = 0;
};

/// By MMIO at a known address.
class MmioRegisterDriver final : public RegisterDriver {
 public:
  MmioRegisterDriver(GuestPort& port, std::uint64_t base) : RegisterDriver(port), base_(base) {}

  [[nodiscard]] std::uint32_t reg(std::uint32_t offset) const;
  void set_reg(std::uint32_t offset, std::uint32_t value);

  [[nodiscard]] std::uint8_t status() override;
  void set_status(std::uint8_t status) override;
  [[nodiscard]] std::uint64_t device_features() override;
  void set_driver_features(std::uint64_t features) override;
  [[nodiscard]] std::uint32_t queue_max_size(std::uint16_t queue) override;
  void write_queue(std::uint16_t queue, const QueueConfig& config) override;
  void enable_queue(std::uint16_t queue) override;
  [[nodiscard]] bool queue_enabled(std::uint16_t queue) override;
  void reset_queue(std::uint16_t queue) override;
  [[nodiscard]] bool queue_in_reset(std::uint16_t queue) override;
  [[nodiscard]] std::uint64_t queue_desc(std::uint16_t queue) override;
  [[nodiscard]] std::uint64_t config_address() const override;
  void kick(std::uint16_t queue) override;
  void kick_with_data(std::uint16_t queue, std::uint16_t next) override;

 private:
  std::uint64_t base_;
};

}  // namespace bellhop::testing
