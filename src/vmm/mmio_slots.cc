#include <fmt/format.h>

#include "transport/mmio/virtio_mmio_device.h"
#include "vmm/device_slots.h"

namespace bellhop {

namespace {

constexpr std::uint64_t kWindowBase = 0xd000'0000;
constexpr std::uint64_t kWindowStride = 0x1000;
/// Pins of the IOAPIC that nothing else on this machine uses.
constexpr unsigned kFirstGsi = 5;
constexpr unsigned kLastGsi = 23;

class MmioSlots final : public DeviceSlots {
 public:
  explicit MmioSlots(const SlotWiring& wiring) : wiring_(wiring) {}

  Status add(PreparedDevice prepared) override {
    const auto index = static_cast<unsigned>(devices_.size());
    if (kFirstGsi + index > kLastGsi) {
      return fail(fmt::format("--transport mmio: no more than {} devices (use --transport pci)",
                              kLastGsi - kFirstGsi + 1));
    }
    auto device = VirtioMmioDevice::create(
        std::move(prepared.device), std::move(prepared.wiring), wiring_.binder, wiring_.mmio,
        {.base = kWindowBase + index * kWindowStride, .gsi = kFirstGsi + index});
    if (!device) return forward(device);
    devices_.push_back(std::move(*device));
    return {};
  }

  [[nodiscard]] std::string cmdline() const override {
    std::string words;
    for (const auto& device : devices_) {
      words += fmt::format(" virtio_mmio.device={:#x}@{:#x}:{}", kWindowStride,
                           device->place().base, device->place().gsi);
    }
    return words;
  }

  void reset() override {
    for (auto& device : devices_) device->reset();
  }

 protected:
  [[nodiscard]] std::vector<DeviceCore*> cores() const override {
    std::vector<DeviceCore*> cores;
    for (const auto& device : devices_) cores.push_back(&device->core());
    return cores;
  }

 private:
  SlotWiring wiring_;
  std::vector<std::unique_ptr<VirtioMmioDevice>> devices_;
};

}  // namespace

Result<std::unique_ptr<DeviceSlots>> make_mmio_slots(const SlotWiring& wiring) {
  return std::make_unique<MmioSlots>(wiring);
}

}  // namespace bellhop
