#include <fmt/format.h>

#include <algorithm>
#include <cassert>

#include "machine/device_slots.h"
#include "transport/pci/pci_root.h"
#include "transport/pci/virtio_pci_device.h"

namespace bellhop {

namespace {

static_assert(kEcam.size == PciRoot::kEcamBytes);
static_assert(kPciConfigPorts.address == PciRoot::kPortBase &&
              kPciConfigPorts.size == PciRoot::kPortCount);

static_assert(kPciHotplugPorts.size == PciHotplug::kPorts);

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
    if (auto put =
            wiring_.ports.insert(kPciHotplugPorts.address, kPciHotplugPorts.size, wiring_.hotplug);
        !put) {
      return put;
    }
    return wiring_.mmio.insert(kEcam.address, kEcam.size, root_.ecam());
  }

  Status add(PreparedDevice prepared) override {
    const auto number = add(std::move(prepared), [](DeviceLife&) { return Status(); });
    if (!number) return forward(number);
    return {};
  }

  Result<std::string> plug(PreparedDevice prepared,
                           const std::function<Status(DeviceLife&)>& prepare) override {
    const auto number = add(std::move(prepared), prepare);
    if (!number) return forward(number);
    wiring_.hotplug.has_come(*number);
    return fmt::format("0000:00:{:02x}.0", *number);
  }
  Status ask_for(std::string_view id) override {
    wiring_.hotplug.ask_for(find(id)->number);
    return {};
  }
  [[nodiscard]] std::vector<std::string> let_go() override {
    const std::uint32_t numbers = wiring_.hotplug.take_let_go();
    std::vector<std::string> ids;
    for (const Slot& slot : devices_) {
      if ((numbers >> slot.number & 1U) != 0) ids.push_back(slot.life().traits().id);
    }
    return ids;
  }
  [[nodiscard]] std::shared_ptr<void> remove(std::string_view id) override {
    const auto slot = find(id);
    root_.remove(slot->number);
    wiring_.hotplug.forget(slot->number);
    std::shared_ptr<void> device = std::move(slot->device);
    devices_.erase(slot);
    return device;
  }

  [[nodiscard]] std::vector<AddressRange> reserved() const override { return {kEcam}; }
  void describe(AcpiDescription& acpi) const override { acpi.ecam = kEcam; }

  void reset() override {
    root_.reset();
    wiring_.hotplug.reset();
  }

  [[nodiscard]] std::vector<DeviceLife*> lives() const override {
    std::vector<DeviceLife*> lives;
    lives.reserve(devices_.size());
    for (const Slot& slot : devices_) lives.push_back(&slot.life());
    return lives;
  }

 private:
  struct Slot {
    unsigned number;  ///< on the bus
    std::unique_ptr<VirtioPciDevice> device;

    [[nodiscard]] DeviceLife& life() const { return device->life(); }
  };

  Result<unsigned> add(PreparedDevice prepared, const std::function<Status(DeviceLife&)>& prepare) {
    if (auto room = root_.next_number(); !room) return room;
    auto device = VirtioPciDevice::create(std::move(prepared.device), std::move(prepared.wiring),
                                          wiring_.binder, {&wiring_.mmio, &wiring_.ports}, style_);
    if (!device) return forward(device);
    if (auto ready = prepare((*device)->life()); !ready) return forward(ready);
    const auto number = root_.add(**device);
    if (!number) return forward(number);
    devices_.push_back({*number, std::move(*device)});
    return *number;
  }

  /// A device that is there.
  std::vector<Slot>::iterator find(std::string_view id) {
    const auto slot = std::ranges::find_if(
        devices_, [id](const Slot& one) { return one.life().traits().id == id; });
    assert(slot != devices_.end());
    return slot;
  }

  SlotWiring wiring_;
  PciStyle style_;
  PciRoot root_{{kPciMemory.address, kPciMemory.size}, {kPciPorts.address, kPciPorts.size}};
  std::vector<Slot> devices_;
};

}  // namespace

Result<std::unique_ptr<DeviceSlots>> make_pci_slots(const SlotWiring& wiring, PciStyle style) {
  auto slots = std::make_unique<PciSlots>(wiring, style);
  if (auto connected = slots->connect(); !connected) return forward(connected);
  return slots;
}

}  // namespace bellhop
