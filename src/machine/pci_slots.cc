#include "machine/device_slots.h"
#include "transport/pci/pci_root.h"
#include "transport/pci/virtio_pci_device.h"

namespace bellhop {

namespace {

static_assert(kEcam.size == PciRoot::kEcamBytes);
static_assert(kPciConfigPorts.address == PciRoot::kPortBase &&
              kPciConfigPorts.size == PciRoot::kPortCount);

class PciSlots final : public DeviceSlots {
 public:
  PciSlots(const SlotWiring& wiring, PciStyle style) : wiring_(wiring), style_(style) {}

  Status connect() {
    root_.set_reset_control(wiring_.reset_control);
    if (auto put =
            wiring_.ports.insert(kPciConfigPorts.address, kPciConfigPorts.size, root_.ports());
        !put) {
      return put;
    }
    return wiring_.mmio.insert(kEcam.address, kEcam.size, root_.ecam());
  }

  Status add(PreparedDevice prepared) override {
    auto device = VirtioPciDevice::create(std::move(prepared.device), std::move(prepared.wiring),
                                          wiring_.binder, {&wiring_.mmio, &wiring_.ports}, style_);
    if (!device) return forward(device);
    if (auto number = root_.add(**device); !number) return forward(number);
    devices_.push_back(std::move(*device));
    return {};
  }

  [[nodiscard]] std::vector<AddressRange> reserved() const override { return {kEcam}; }
  void describe(AcpiDescription& acpi) const override { acpi.ecam = kEcam; }

  void reset() override { root_.reset(); }

 protected:
  [[nodiscard]] std::vector<DeviceLife*> lives() const override { return lives_of(devices_); }

 private:
  SlotWiring wiring_;
  PciStyle style_;
  PciRoot root_{{kPciMemory.address, kPciMemory.size}, {kPciPorts.address, kPciPorts.size}};
  std::vector<std::unique_ptr<VirtioPciDevice>> devices_;
};

}  // namespace

Result<std::unique_ptr<DeviceSlots>> make_pci_slots(const SlotWiring& wiring, PciStyle style) {
  auto slots = std::make_unique<PciSlots>(wiring, style);
  if (auto connected = slots->connect(); !connected) return forward(connected);
  return slots;
}

}  // namespace bellhop
