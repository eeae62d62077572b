#include "guest/transport.h"

#include "guest/cmdline.h"
#include "guest/cpu.h"
#include "virtio/abi/config.h"
#include "virtio/abi/pci.h"
#include "virtio/abi/ring.h"

namespace bellhop::guest {
namespace {

template <class Found>
struct Search {
  std::uint16_t device_type;
  unsigned index;
  Found* transport;
};

template <class Found>
bool visit_function(PciFunction function, void* context) {
  auto* search = static_cast<Search<Found>*>(context);
  if (function.read16(virtio::kPciVendorIdOffset) != virtio::kPciVendorId) return false;
  if (!search->transport->open(function, search->device_type)) return false;
  return search->index-- == 0;
}

bool find_mmio(std::uint16_t device_type, unsigned index, MmioTransport* transport) {
  // virtio_mmio.device=<size>@<address>:<gsi>[:<id>]
  for (unsigned i = 0;; ++i) {
    Text text = cmdline_value("virtio_mmio.device", i);
    if (!text.present()) return false;
    std::uint64_t bytes = 0;
    std::uint64_t address = 0;
    std::uint64_t gsi = 0;
    const auto skip = [&text](char c) {
      if (text.length == 0 || text.data[0] != c) return false;
      ++text.data;
      --text.length;
      return true;
    };
    if (!parse_number(&text, &bytes) || !skip('@') || !parse_number(&text, &address) ||
        !skip(':') || !parse_number(&text, &gsi)) {
      continue;
    }
    if (!transport->open(address, static_cast<std::uint32_t>(gsi), device_type)) continue;
    if (index-- == 0) return true;
  }
}

}  // namespace

bool Transport::reset() {
  set_status(virtio::kStatusReset);
  return wait_until([this] { return status() == 0; });
}

const char* Transport::negotiate(std::uint64_t wanted, std::uint64_t* offered,
                                 std::uint64_t* agreed) {
  using namespace bellhop::virtio;
  if (!reset()) return "reset does not end";
  set_status(kStatusAcknowledge);
  set_status(kStatusAcknowledge | kStatusDriver);
  *offered = device_features();
  *agreed = *offered & wanted;
  if ((*agreed & feature_mask(kFeatureVersion1)) == 0) {
    return "VIRTIO_F_VERSION_1 is not offered";
  }
  set_driver_features(*agreed);
  const std::uint8_t expected = kStatusAcknowledge | kStatusDriver | kStatusFeaturesOk;
  set_status(expected);
  return status() == expected ? nullptr : "FEATURES_OK does not stick";
}

void Transport::go() {
  using namespace bellhop::virtio;
  set_status(kStatusAcknowledge | kStatusDriver | kStatusFeaturesOk | kStatusDriverOk);
}

std::uint64_t Transport::device_features() {
  const FeatureWindow window = device_feature_window();
  mmio_write32(window.select, 0);
  const std::uint64_t low = mmio_read32(window.bits);
  mmio_write32(window.select, 1);
  return low | std::uint64_t{mmio_read32(window.bits)} << 32;
}

void Transport::set_driver_features(std::uint64_t features) {
  const FeatureWindow window = driver_feature_window();
  mmio_write32(window.select, 0);
  mmio_write32(window.bits, static_cast<std::uint32_t>(features));
  mmio_write32(window.select, 1);
  mmio_write32(window.bits, static_cast<std::uint32_t>(features >> 32));
}

void Transport::write64(std::uint64_t address, std::uint64_t value) {
  mmio_write32(address, static_cast<std::uint32_t>(value));
  mmio_write32(address + 4, static_cast<std::uint32_t>(value >> 32));
}

void Transport::write_queue_addresses(const QueueAddresses& registers,
                                      const QueueAddresses& values) {
  write64(registers.desc, values.desc);
  write64(registers.driver, values.driver);
  write64(registers.device, values.device);
}

Transport* find_device(std::uint16_t device_type, unsigned index, TransportRoom* room) {
  enum : unsigned { kAny, kPci, kMmio, kLegacy };
  static constexpr const char* kNames[] = {"any", "pci", "mmio", "legacy", nullptr};
  const unsigned wanted = cmdline_choice("transport", kNames);
  if ((wanted == kAny || wanted == kMmio) && find_mmio(device_type, index, &room->mmio)) {
    return &room->mmio;
  }
  Search<PciTransport> modern{device_type, index, &room->pci};
  if ((wanted == kAny || wanted == kPci) && pci_scan(visit_function<PciTransport>, &modern)) {
    return &room->pci;
  }
  Search<LegacyTransport> legacy{device_type, index, &room->legacy};
  if (wanted == kLegacy && pci_scan(visit_function<LegacyTransport>, &legacy)) {
    return &room->legacy;
  }
  return nullptr;
}

}  // namespace bellhop::guest
