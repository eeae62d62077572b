#include <fmt/format.h>

#include <array>

#include "machine/device_slots.h"
#include "transport/mmio/virtio_mmio_device.h"

namespace bellhop {

namespace {

/// Pins of the IOAPIC that nothing else on this machine uses: the clock has 8, ACPI 9.
constexpr std::array<unsigned, 17> kGsis{5,  6,  7,  10, 11, 12, 13, 14, 15,
                                         16, 17, 18, 19, 20, 21, 22, 23};
static_assert(kVirtioMmio.size == kGsis.size() * kVirtioMmioStride);

class MmioSlots final : public DeviceSlots {
 public:
  explicit MmioSlots(const SlotWiring& wiring) : wiring_(wiring) {}

  Status connect() {
    return wiring_.ports.insert(kResetControlPorts.address, kResetControlPorts.size,
                                wiring_.reset_control);
  }

  Status add(PreparedDevice prepared) override {
    const std::size_t index = devices_.size();
    if (index == kGsis.size()) {
      return fail(fmt::format("--transport mmio: no more than {} devices (use --transport pci)",
                              kGsis.size()));
    }
    auto device = VirtioMmioDevice::create(
        std::move(prepared.device), std::move(prepared.wiring), wiring_.binder, wiring_.mmio,
        {.base = kVirtioMmio.address + index * kVirtioMmioStride, .gsi = kGsis[index]});
    if (!device) return forward(device);
    devices_.push_back(std::move(*device));
    return {};
  }

  // For kernels without ACPI. Those with both find each device twice and use it once.
  [[nodiscard]] std::string cmdline() const override {
    std::string words;
    for (const auto& device : devices_) {
      words += fmt::format(" virtio_mmio.device={:#x}@{:#x}:{}", kVirtioMmioStride,
                           device->place().base, device->place().gsi);
    }
    return words;
  }

  void describe(AcpiDescription& acpi) const override {
    for (const auto& device : devices_) acpi.virtio_mmio.push_back(device->place());
  }

  void reset() override {
    for (auto& device : devices_) device->reset();
  }

 protected:
  [[nodiscard]] std::vector<DeviceLife*> lives() const override { return lives_of(devices_); }

 private:
  SlotWiring wiring_;
  std::vector<std::unique_ptr<VirtioMmioDevice>> devices_;
};

}  // namespace

Result<std::unique_ptr<DeviceSlots>> make_mmio_slots(const SlotWiring& wiring) {
  auto slots = std::make_unique<MmioSlots>(wiring);
  if (auto connected = slots->connect(); !connected) return forward(connected);
  return slots;
}

}  // namespace bellhop
