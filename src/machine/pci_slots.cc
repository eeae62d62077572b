#include "machine/device_slots.h"
#include "transport/pci/pci_root.h"
#include "transport/pci/virtio_pci_device.h"

namespace bellhop {

namespace {

/// Below the RAM hole's IOAPIC and LAPICs, above the BARs' window.
constexpr std::uint64_t kEcamBase = 0xd000'0000;

class PciSlots final : public DeviceSlots {
 public:
  PciSlots(const SlotWiring& wiring, PciStyle style) : wiring_(wiring), style_(style) {}

  Status connect() {
    root_.set_reset_control(wiring_.reset_control);
    if (auto put = wiring_.ports.insert(PciRoot::kPortBase, PciRoot::kPortCount, root_.ports());
        !put) {
      return put;
    }
    return wiring_.mmio.insert(kEcamBase, PciRoot::kEcamBytes, root_.ecam());
  }

  Status add(PreparedDevice prepared) override {
    auto device = VirtioPciDevice::create(std::move(prepared.device), std::move(prepared.wiring),
                                          wiring_.binder, {&wiring_.mmio, &wiring_.ports}, style_);
    if (!device) return forward(device);
    if (auto number = root_.add(**device); !number) return forward(number);
    devices_.push_back(std::move(*device));
    return {};
  }

  [[nodiscard]] std::vector<AddressRange> reserved() const override {
    return {{kEcamBase, PciRoot::kEcamBytes}};
  }
  void describe(AcpiDescription& acpi) const override {
    acpi.ecam = {kEcamBase, PciRoot::kEcamBytes};
  }

  void reset() override { root_.reset(); }

 protected:
  [[nodiscard]] std::vector<DeviceLife*> lives() const override {
    std::vector<DeviceLife*> lives;
    lives.reserve(devices_.size());
    for (const auto& device : devices_) lives.push_back(&device->life());
    return lives;
  }

 private:
  SlotWiring wiring_;
  PciStyle style_;
  PciRoot root_;
  std::vector<std::unique_ptr<VirtioPciDevice>> devices_;
};

}  // namespace

Result<std::unique_ptr<DeviceSlots>> make_pci_slots(const SlotWiring& wiring, PciStyle style) {
  auto slots = std::make_unique<PciSlots>(wiring, style);
  if (auto connected = slots->connect(); !connected) return forward(connected);
  return slots;
}

}  // namespace bellhop
