#pragma once

#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "bus/bus.h"
#include "event/io_thread.h"
#include "testing/echo_device.h"
#include "testing/eventually.h"
#include "testing/fake_driver.h"
#include "testing/fake_host_binder.h"
#include "testing/fake_hypervisor.h"
#include "testing/register_driver.h"
#include "testing/ring_layout.h"
#include "testing/test_memory.h"
#include "transport/mmio/virtio_mmio_device.h"
#include "transport/pci/pci_root.h"
#include "transport/pci/virtio_pci_device.h"
#include "virtio/abi/ring.h"

namespace bellhop::testing {

/// An echo device behind a transport, with everything that a machine puts around it but a guest:
/// the test drives its registers and its rings.
class TransportFixture {
 public:
  static constexpr std::uint16_t kQueues = 2;
  static constexpr std::uint16_t kSize = 16;
  /// What the driver takes.
  static std::uint64_t features() {
    return virtio::feature_mask(virtio::kFeatureVersion1) | EchoDevice::kFeature |
           tested_ring_features();
  }
  static constexpr std::uint64_t kMmioBase = 0xd0000000;
  static constexpr unsigned kMmioGsi = 5;

  enum class Kind { kPci, kPciTransitional, kMmio };

  /// `more` features of rings are offered, and the driver takes them.
  explicit TransportFixture(Kind kind, NotifyMode notify = NotifyMode::kIoEventFd,
                            std::uint64_t more = 0, std::uint16_t queues = kQueues)
      : more_features(more), queue_count(queues) {
    auto device = std::make_unique<EchoDevice>(queues);
    echo = device.get();
    const DeviceWiring wiring{.memory = &memory,
                              .threads = {thread.get()},
                              .notify = notify,
                              .ring_features = tested_ring_features() | more};
    if (kind != Kind::kMmio) {
      must(ports.insert(PciRoot::kPortBase, PciRoot::kPortCount, root.ports()));
      must(mmio.insert(kEcamBase, PciRoot::kEcamBytes, root.ecam()));
      pci_device = must(VirtioPciDevice::create(
          std::move(device), wiring, binder, {&mmio, &ports},
          kind == Kind::kPci ? PciStyle::kModern : PciStyle::kTransitional));
      pci = std::make_unique<PciRegisterDriver>(port, must(root.add(*pci_device)));
      driver = pci.get();
      negotiation = &pci_device->negotiation();
      life = &pci_device->life();
    } else {
      mmio_device = must(VirtioMmioDevice::create(std::move(device), wiring, binder, mmio,
                                                  {.base = kMmioBase, .gsi = kMmioGsi}));
      mmio_driver = std::make_unique<MmioRegisterDriver>(port, kMmioBase);
      driver = mmio_driver.get();
      negotiation = &mmio_device->negotiation();
      life = &mmio_device->life();
    }
    lay_out_rings();
  }

  static constexpr std::uint64_t kEcamBase = 0xc0000000;
  static constexpr GuestAddress kRings{0x10000};
  static constexpr GuestAddress kData{0x800000};

  /// Fresh rings, as a driver makes them after a reset.
  void lay_out_rings() {
    rings.clear();
    for (std::uint16_t i = 0; i < queue_count; ++i) {
      const GuestAddress at{kRings.value() + 0x10000 * std::uint64_t{i}};
      const std::vector<std::byte> zeros(FakeDriver::bytes_needed(kSize));
      ASSERT_TRUE(memory.write(at, zeros));
      rings.emplace_back(memory, at, kSize, tested_ring({}));
    }
  }
  /// One fresh ring, elsewhere, of its own size, as a driver makes it after that queue's reset.
  void lay_out_ring_anew(std::uint16_t queue, std::uint16_t size) {
    const GuestAddress at{kRings.value() + 0x10000 * std::uint64_t{kQueues + anew_++ % 8}};
    const std::vector<std::byte> zeros(FakeDriver::bytes_needed(size));
    ASSERT_TRUE(memory.write(at, zeros));
    rings[queue] = FakeDriver(memory, at, size, tested_ring({}));
  }
  /// Configures and enables that queue with the ring that is there for it.
  void enable_anew(std::uint16_t queue) {
    driver->write_queue(queue, rings[queue].config());
    driver->enable_queue(queue);
  }

  [[nodiscard]] std::vector<QueueConfig> configs() const {
    std::vector<QueueConfig> all;
    all.reserve(rings.size());
    for (const FakeDriver& ring : rings) all.push_back(ring.config());
    return all;
  }

  /// MSI message of a vector.
  static MsiMessage message(unsigned vector) {
    return {.address = 0xfee00000, .data = 0x40 + vector};
  }

  /// Fresh rings and DRIVER_OK, with all vectors open.
  bool bring_up() {
    if (pci && !pci->probe()) return false;
    driver->set_status(0);
    lay_out_rings();
    if (pci) {
      for (unsigned i = 0; i <= queue_count; ++i) {
        pci->write_vector(i, message(i).address, message(i).data, false);
      }
    }
    const bool up = driver->bring_up(features() | more_features, configs());
    if (pci) pci->set_common(virtio::kCommonConfigMsixVector, 0, 2);
    return up;
  }

  /// Puts one request into a ring: the device is to copy `value` into its second half.
  void add(std::uint16_t queue, std::uint8_t value) {
    const GuestAddress from{kData.value() + 0x1000 * std::uint64_t{queue}};
    const GuestAddress to{from.value() + 0x800};
    const std::array bytes{std::byte{value}};
    ASSERT_TRUE(memory.write(from, bytes));
    ASSERT_TRUE(rings[queue].add({{from, 1, false}, {to, 1, true}}).has_value());
  }
  [[nodiscard]] std::uint8_t answer(std::uint16_t queue) const {
    std::array<std::byte, 1> bytes{};
    EXPECT_TRUE(
        memory.read(GuestAddress(kData.value() + 0x1000 * std::uint64_t{queue} + 0x800), bytes));
    return std::to_integer<std::uint8_t>(bytes[0]);
  }
  /// Waits for one completion.
  bool reap(std::uint16_t queue) {
    return eventually([&] { return rings[queue].reap().has_value(); });
  }
  /// One request there and back.
  bool echoes(std::uint16_t queue, std::uint8_t value) {
    add(queue, value);
    if (rings[queue].offer()) driver->kick(queue);
    return reap(queue) && answer(queue) == value;
  }
  /// The device works: after whatever was done to it.
  bool works_after_reset() {
    if (!bring_up()) return false;
    for (std::uint16_t i = 0; i < queue_count; ++i) {
      if (!echoes(i, static_cast<std::uint8_t>(0x50 + i))) return false;
    }
    return true;
  }

  /// Everything that was posted or signalled to the I/O thread before has been dealt with.
  void settle() {
    for (int i = 0; i < 3; ++i) thread->run_sync([] {});
  }
  /// Whether queue `queue` has interrupted since the last call.
  bool interrupted(std::uint16_t queue) {
    settle();
    if (!pci) return binder.take_edge(kMmioGsi);
    const bool came = vm.delivered_count(message(queue + 1U)) != 0;
    vm.clear_delivered();
    return came;
  }

  const std::uint64_t more_features;
  const std::uint16_t queue_count;
  unsigned anew_ = 0;  ///< rings laid out by themselves
  GuestMemory memory = make_memory();
  FakeVm vm;
  FakeHostBinder binder{vm};
  Bus ports{"ports", 0xffff};
  Bus mmio{"memory"};
  GuestPort port{vm, ports, mmio};
  PciRoot root{{0xe0000000, 0x08000000}, {0x1000, 0xf000}};
  std::unique_ptr<IoThread> thread = must(IoThread::start({}));
  std::unique_ptr<VirtioPciDevice> pci_device;
  std::unique_ptr<VirtioMmioDevice> mmio_device;
  std::unique_ptr<PciRegisterDriver> pci;
  std::unique_ptr<MmioRegisterDriver> mmio_driver;
  EchoDevice* echo = nullptr;
  Negotiation* negotiation = nullptr;
  DeviceLife* life = nullptr;
  RegisterDriver* driver = nullptr;
  std::vector<FakeDriver> rings;
};

}  // namespace bellhop::testing
