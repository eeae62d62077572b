#pragma once

#include <cstddef>
#include <cstdint>

#include "guest/clock.h"
#include "guest/cpu.h"
#include "guest/pci.h"

// The registers of one virtio device, by PCI (virtio 1.3 section 4.1, modern), by a transitional
// PCI device's legacy ports (4.1.4.10), or by MMIO (section 4.2, version 2).
namespace bellhop::guest {

/// How to ring for one queue: one store, or one OUT.
struct Notifier {
  enum class Way : std::uint8_t { kStore16, kStore32, kOut16 };
  std::uint64_t address = 0;  ///< or port
  std::uint16_t value = 0;
  Way way = Way::kStore16;
};

/// Rings once. Any vCPU may.
inline void ring(const Notifier& notifier) {
  switch (notifier.way) {
    case Notifier::Way::kStore16:
      mmio_write16(notifier.address, notifier.value);
      break;
    case Notifier::Way::kStore32:
      mmio_write32(notifier.address, notifier.value);
      break;
    case Notifier::Way::kOut16:
      out16(static_cast<std::uint16_t>(notifier.address), notifier.value);
      break;
  }
}

/// Addresses of one split queue, or of the registers that take them.
struct QueueAddresses {
  std::uint64_t desc = 0;
  std::uint64_t driver = 0;
  std::uint64_t device = 0;
};

class PciTransport;
class MmioTransport;

class Transport {
 public:
  /// This transport as what it is, null if it is the other.
  virtual PciTransport* as_pci() { return nullptr; }
  virtual MmioTransport* as_mmio() { return nullptr; }
  virtual const char* name() const = 0;
  std::uint64_t device_features();
  void set_driver_features(std::uint64_t features);
  virtual std::uint8_t status() = 0;
  virtual void set_status(std::uint8_t status) = 0;
  virtual std::uint8_t config_read8(std::uint32_t offset) = 0;
  virtual std::uint32_t config_read32(std::uint32_t offset) = 0;
  virtual std::uint32_t config_generation() = 0;
  /// Largest size of `queue`, 0 if there is no such queue.
  virtual std::uint32_t queue_max_size(std::uint16_t queue) = 0;
  /// Sets up and enables `queue`; interrupts go to the counter `counter` on vCPU `cpu`.
  virtual bool enable_queue(std::uint16_t queue, std::uint32_t size, QueueAddresses addresses,
                            unsigned counter, std::uint32_t cpu, Notifier* notifier) = 0;
  /// VIRTIO_F_RING_RESET (2.6.1): the device lets go of `queue`, which may be enabled again then.
  /// False: it does not, in two seconds.
  virtual bool reset_queue(std::uint16_t queue) = 0;
  /// Whether an interrupt must be acknowledged by `acknowledge` before the next can come.
  virtual bool needs_acknowledge() const = 0;
  virtual void acknowledge() = 0;
  /// Queues whose interrupts can be told apart and sent to different vCPUs.
  virtual std::uint32_t max_vectors() const = 0;

  /// Writes 0 to the status and waits (bounded) until it reads back.
  bool reset();

  /// Resets the device and brings it to FEATURES_OK (3.1.1) with what it offers of `wanted`;
  /// VIRTIO_F_VERSION_1 must be among it. Null, or what went wrong.
  virtual const char* negotiate(std::uint64_t wanted, std::uint64_t* offered,
                                std::uint64_t* agreed);
  /// DRIVER_OK: the queues are enabled.
  virtual void go();

 protected:
  ~Transport() = default;

  /// Waits (bounded) until `is_done`.
  template <class IsDone>
  static bool wait_until(IsDone&& is_done) {
    const std::uint64_t end = read_tsc() + us_to_cycles(2'000'000);
    while (!is_done()) {
      if (read_tsc() > end) return false;
      cpu_relax();
    }
    return true;
  }

  /// 64 feature bits behind 32 at a time: the half is chosen by `select`. Addresses of registers.
  struct FeatureWindow {
    std::uint64_t select;
    std::uint64_t bits;
  };
  virtual FeatureWindow device_feature_window() const = 0;
  virtual FeatureWindow driver_feature_window() const = 0;
  /// A 64-bit register is two of 32 bits, the low one first.
  static void write64(std::uint64_t address, std::uint64_t value);
  static void write_queue_addresses(const QueueAddresses& registers, const QueueAddresses& values);
  /// Sends the MSI-X table's entry `entry` to the counter `counter` on vCPU `cpu`, unmasked.
  static void write_msix_entry(std::uint64_t table, std::uint16_t entry, unsigned counter,
                               std::uint32_t cpu);
};

class PciTransport final : public Transport {
 public:
  /// False if the function is no modern virtio device of type `device_type`.
  bool open(PciFunction function, std::uint16_t device_type);
  /// Finds the BARs and the registers anew, after they moved.
  bool locate();

  PciTransport* as_pci() override { return this; }
  const char* name() const override { return "pci"; }
  std::uint8_t status() override;
  void set_status(std::uint8_t status) override;
  std::uint8_t config_read8(std::uint32_t offset) override;
  std::uint32_t config_read32(std::uint32_t offset) override;
  std::uint32_t config_generation() override;
  std::uint32_t queue_max_size(std::uint16_t queue) override;
  bool enable_queue(std::uint16_t queue, std::uint32_t size, QueueAddresses addresses,
                    unsigned counter, std::uint32_t cpu, Notifier* notifier) override;
  bool reset_queue(std::uint16_t queue) override;
  bool needs_acknowledge() const override { return false; }
  void acknowledge() override {}
  std::uint32_t max_vectors() const override { return vectors_; }

  // For hostile cases only.
  PciFunction function() const { return function_; }
  std::uint64_t common() const { return common_; }
  std::uint64_t notify() const { return notify_; }
  std::uint64_t notify_length() const { return notify_length_; }
  std::uint64_t msix_table() const { return msix_table_; }
  std::uint64_t msix_pending() const { return msix_pending_; }
  std::uint64_t device_config() const { return device_config_; }
  std::uint8_t window_capability() const { return window_capability_; }
  std::uint8_t msix_capability() const { return msix_capability_; }
  std::uint8_t notify_bar() const { return notify_bar_; }
  std::uint32_t notify_offset() const { return notify_offset_; }

 private:
  FeatureWindow device_feature_window() const override;
  FeatureWindow driver_feature_window() const override;
  void select_queue(std::uint16_t queue);

  PciFunction function_;
  std::uint64_t common_ = 0;
  std::uint64_t notify_ = 0;
  std::uint64_t notify_length_ = 0;
  std::uint64_t isr_ = 0;
  std::uint64_t device_config_ = 0;
  std::uint64_t msix_table_ = 0;
  std::uint64_t msix_pending_ = 0;
  std::uint32_t notify_multiplier_ = 0;
  std::uint32_t notify_offset_ = 0;
  std::uint32_t vectors_ = 0;
  std::uint8_t notify_bar_ = 0;
  std::uint8_t window_capability_ = 0;
  std::uint8_t msix_capability_ = 0;
};

/// A transitional device, driven as before virtio 1.0: no FEATURES_OK, 32 feature bits, rings in
/// one piece of the device's size, kicks by OUT.
class LegacyTransport final : public Transport {
 public:
  /// False if the function is no transitional virtio device of type `device_type`.
  bool open(PciFunction function, std::uint16_t device_type);

  const char* name() const override { return "legacy"; }
  const char* negotiate(std::uint64_t wanted, std::uint64_t* offered,
                        std::uint64_t* agreed) override;
  void go() override;
  std::uint8_t status() override;
  void set_status(std::uint8_t status) override;
  std::uint8_t config_read8(std::uint32_t offset) override;
  std::uint32_t config_read32(std::uint32_t offset) override;
  std::uint32_t config_generation() override { return 0; }
  std::uint32_t queue_max_size(std::uint16_t queue) override;
  bool enable_queue(std::uint16_t queue, std::uint32_t size, QueueAddresses addresses,
                    unsigned counter, std::uint32_t cpu, Notifier* notifier) override;
  bool reset_queue(std::uint16_t) override { return false; }  // it knows of none
  bool needs_acknowledge() const override { return false; }
  void acknowledge() override {}
  std::uint32_t max_vectors() const override { return vectors_; }

 private:
  // It has no windows: negotiate() is its own.
  FeatureWindow device_feature_window() const override { return {}; }
  FeatureWindow driver_feature_window() const override { return {}; }
  std::uint16_t port(std::uint32_t offset) const {
    return static_cast<std::uint16_t>(port_ + offset);
  }

  std::uint64_t msix_table_ = 0;
  std::uint32_t vectors_ = 0;
  std::uint16_t port_ = 0;
};

class MmioTransport final : public Transport {
 public:
  /// False if no device of type `device_type` answers at `address`.
  bool open(std::uint64_t address, std::uint32_t gsi, std::uint16_t device_type);

  MmioTransport* as_mmio() override { return this; }
  const char* name() const override { return "mmio"; }
  std::uint8_t status() override;
  void set_status(std::uint8_t status) override;
  std::uint8_t config_read8(std::uint32_t offset) override;
  std::uint32_t config_read32(std::uint32_t offset) override;
  std::uint32_t config_generation() override;
  std::uint32_t queue_max_size(std::uint16_t queue) override;
  bool enable_queue(std::uint16_t queue, std::uint32_t size, QueueAddresses addresses,
                    unsigned counter, std::uint32_t cpu, Notifier* notifier) override;
  bool reset_queue(std::uint16_t queue) override;
  bool needs_acknowledge() const override { return true; }
  void acknowledge() override;
  std::uint32_t max_vectors() const override { return 1; }

  // For hostile cases only.
  std::uint64_t base() const { return base_; }

 private:
  FeatureWindow device_feature_window() const override;
  FeatureWindow driver_feature_window() const override;

  std::uint64_t base_ = 0;
  std::uint32_t gsi_ = 0;
};

/// Room for a device's transport, whichever it turns out to be.
struct TransportRoom {
  PciTransport pci;
  LegacyTransport legacy;
  MmioTransport mmio;
};

/// Finds the `index`-th device of `device_type`, by the command line's virtio_mmio.device= words
/// first, then by PCI; transport=pci|mmio|legacy narrows that. Returns the one of `room` that was
/// opened, or null if there is no such device.
Transport* find_device(std::uint16_t device_type, unsigned index, TransportRoom* room);

}  // namespace bellhop::guest
