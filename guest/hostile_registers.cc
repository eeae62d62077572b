// Rows 10 and 13 to 20 of the list of bad inputs: registers, notifications, life cycle.
#include <initializer_list>

#include "guest/clock.h"
#include "guest/interrupts.h"
#include "guest/memory.h"
#include "guest/scene.h"
#include "guest/smp.h"
#include "virtio/abi/blk.h"
#include "virtio/abi/config.h"
#include "virtio/abi/mmio.h"
#include "virtio/abi/pci.h"
#include "virtio/abi/ring.h"

namespace bellhop::guest {

using namespace bellhop::virtio;

namespace {

constexpr std::uint8_t kBeforeOk = kStatusAcknowledge | kStatusDriver | kStatusFeaturesOk;

/// Writes a queue's registers by hand, on either transport.
void write_queue(Scene& scene, std::uint32_t size, QueueAddresses at, bool enable) {
  if (PciTransport* pci = scene.pci(); pci != nullptr) {
    const std::uint64_t common = pci->common();
    mmio_write16(common + kCommonQueueSelect, 0);
    mmio_write16(common + kCommonQueueSize, static_cast<std::uint16_t>(size));
    mmio_write64(common + kCommonQueueDesc, at.desc);
    mmio_write64(common + kCommonQueueDriver, at.driver);
    mmio_write64(common + kCommonQueueDevice, at.device);
    if (enable) mmio_write16(common + kCommonQueueEnable, 1);
    return;
  }
  const std::uint64_t base = scene.transport()->as_mmio()->base();
  const std::uint64_t values[] = {at.desc, at.driver, at.device};
  const std::uint32_t offsets[] = {kMmioQueueDescLow, kMmioQueueDriverLow, kMmioQueueDeviceLow};
  mmio_write32(base + kMmioQueueSel, 0);
  mmio_write32(base + kMmioQueueSize, size);
  for (unsigned i = 0; i < 3; ++i) {
    mmio_write32(base + offsets[i], static_cast<std::uint32_t>(values[i]));
    mmio_write32(base + offsets[i] + 4, static_cast<std::uint32_t>(values[i] >> 32));
  }
  if (enable) mmio_write32(base + kMmioQueueReady, 1);
}

/// A start in which the queue is set up wrongly, and a request all the same.
void wrong_queue(Scene& scene, std::uint32_t size, QueueAddresses at) {
  if (!scene.disk()->negotiate(true, true)) return;
  scene.queue()->clear();
  scene.begin_outcome();
  write_queue(scene, size, at, true);
  scene.disk()->go();
  scene.compose(kBlkTypeIn, 0);
  scene.offer(0);
  scene.settle();
}

void queue_size_zero(Scene& scene) { wrong_queue(scene, 0, scene.queue()->addresses()); }
void queue_size_odd(Scene& scene) { wrong_queue(scene, 63, scene.queue()->addresses()); }
void queue_size_huge(Scene& scene) { wrong_queue(scene, 0xffff, scene.queue()->addresses()); }

void queue_misaligned(Scene& scene) {
  QueueAddresses at = scene.queue()->addresses();
  at.desc += 3;
  at.driver += 1;
  at.device += 2;
  wrong_queue(scene, Scene::kQueueSize, at);
}

void queue_overlapping(Scene& scene) {
  QueueAddresses at = scene.queue()->addresses();
  at.driver = at.desc;
  at.device = at.desc;
  wrong_queue(scene, Scene::kQueueSize, at);
}

void queue_outside_ram(Scene& scene) {
  QueueAddresses at = scene.queue()->addresses();
  at.device = ram_end() - 8;
  at.driver = ram_end() + 0x1000;
  wrong_queue(scene, Scene::kQueueSize, at);
}

void queue_wrapping(Scene& scene) {
  QueueAddresses at = scene.queue()->addresses();
  at.desc = ~std::uint64_t{0} - 0xf;
  wrong_queue(scene, Scene::kQueueSize, at);
}

// The device must go on with the ring that it was given at DRIVER_OK, or ask for a reset.
void rewrite_live(Scene& scene) {
  write_queue(scene, 4, {ram_end() - 16, ram_end() - 2, ram_end() - 4}, true);
  scene.compose(kBlkTypeIn, 0);
  scene.offer(0);
  scene.settle();
}

void rewrite_live_while_busy(Scene& scene) {
  scene.compose(kBlkTypeIn, 0);
  const QueueAddresses at = scene.queue()->addresses();
  for (std::uint32_t i = 0; i < 50; ++i) {
    scene.offer(0);
    write_queue(scene, 2U << (i % 10), {at.desc + 4096 * i, at.driver + 2 * i, ram_end()}, true);
  }
  scene.settle();
}

void select_out_of_range(Scene& scene) {
  Outcome& outcome = scene.outcome();
  if (PciTransport* pci = scene.pci(); pci != nullptr) {
    const std::uint64_t common = pci->common();
    mmio_write16(common + kCommonQueueSelect, 0xfffe);
    outcome.refused = mmio_read16(common + kCommonQueueSize) == 0;
    mmio_write16(common + kCommonQueueSize, 64);
    mmio_write64(common + kCommonQueueDesc, 0x1000);
    mmio_write16(common + kCommonQueueEnable, 1);
    mmio_write32(common + kCommonDeviceFeatureSelect, 0xffffffff);
    outcome.refused = outcome.refused && mmio_read32(common + kCommonDeviceFeature) == 0;
    mmio_write32(common + kCommonDriverFeatureSelect, 0x80000000);
    mmio_write32(common + kCommonDriverFeature, 0xffffffff);
  } else {
    const std::uint64_t base = scene.transport()->as_mmio()->base();
    mmio_write32(base + kMmioQueueSel, 0xfffffffe);
    outcome.refused = mmio_read32(base + kMmioQueueSizeMax) == 0;
    mmio_write32(base + kMmioQueueSize, 64);
    mmio_write32(base + kMmioQueueReady, 1);
    mmio_write32(base + kMmioDeviceFeaturesSel, 0xffffffff);
    outcome.refused = outcome.refused && mmio_read32(base + kMmioDeviceFeatures) == 0;
  }
  scene.settle();
}

void vector_out_of_range(Scene& scene) {
  PciTransport* pci = scene.pci();
  scene.outcome().skipped = pci == nullptr;
  if (pci == nullptr) return;
  const std::uint64_t common = pci->common();
  mmio_write16(common + kCommonQueueSelect, 0);
  mmio_write16(common + kCommonQueueMsixVector, 0x7ff0);
  mmio_write16(common + kCommonConfigMsixVector, 0xfffe);
  scene.outcome().refused = mmio_read16(common + kCommonQueueMsixVector) == kMsiNoVector &&
                            mmio_read16(common + kCommonConfigMsixVector) == kMsiNoVector;
  scene.compose(kBlkTypeIn, 0);
  scene.offer(0);
  scene.settle();
}

// Every offset of the registers, every width, and past their end: nothing may break. Writes carry
// ones, so this ends in a device that must be reset.
void odd_accesses(Scene& scene) {
  PciTransport* pci = scene.pci();
  const std::uint64_t base = pci != nullptr ? pci->common() : scene.transport()->as_mmio()->base();
  const std::uint32_t end = pci != nullptr ? kCommonCfgBytes + 8 : kMmioConfig + 0x40;
  for (std::uint32_t offset = 0; offset < end; ++offset) {
    mmio_read8(base + offset);
    mmio_read16(base + offset);
    mmio_read32(base + offset);
  }
  for (std::uint32_t offset = 0; offset < end; offset += 3) {
    mmio_write8(base + offset, 0xff);
    mmio_write16(base + offset, 0xffff);
    mmio_write32(base + offset, 0xffffffff);
    mmio_write64(base + offset, ~std::uint64_t{0});
  }
  if (pci != nullptr) {
    const std::uint64_t config = pci->device_config();
    for (std::uint32_t offset = 0; offset < sizeof(BlkConfig) + 16; ++offset) {
      mmio_read32(config + offset);
      mmio_write16(config + offset, 0xffff);
    }
    for (std::uint64_t offset = 0; offset < 64; offset += 2) {
      mmio_write32(pci->msix_pending() + offset, 0xffffffff);
      mmio_read16(pci->msix_table() + 16 * pci->max_vectors() + offset);
      mmio_write32(pci->msix_table() + 16 * pci->max_vectors() + offset, 0xffffffff);
    }
  }
  scene.settle();
}

// The whole of configuration space, read at every width and offset.
void config_space_accesses(Scene& scene) {
  PciTransport* pci = scene.pci();
  scene.outcome().skipped = pci == nullptr;
  if (pci == nullptr) return;
  const PciFunction f = pci->function();
  for (std::uint32_t offset = 0; offset < 256; ++offset) {
    f.read32(offset);
    f.write8(kPciVendorIdOffset + offset % 4, 0xff);
  }
  f.write16(kPciCommandOffset, 0xffff);
  f.write32(kPciCapPointerOffset, 0xffffffff);
  f.write16(kPciCommandOffset, kPciCommandMemory | kPciCommandBusMaster | kPciCommandIntxDisable);
  scene.compose(kBlkTypeIn, 0);
  scene.offer(0);
  scene.settle();
}

void status_skipped(Scene& scene) {
  scene.transport()->reset();
  scene.transport()->set_status(kStatusDriverOk);
  scene.queue()->clear();
  scene.begin_outcome();
  scene.compose(kBlkTypeIn, 0);
  scene.offer(0);
  scene.settle();
}

void status_taken_back(Scene& scene) {
  scene.transport()->set_status(kStatusAcknowledge);
  scene.compose(kBlkTypeIn, 0);
  scene.offer(0);
  scene.settle();
}

void status_failed(Scene& scene) {
  scene.transport()->set_status(kBeforeOk | kStatusDriverOk | kStatusFailed);
  scene.settle();
}

void features_not_offered(Scene& scene) {
  scene.transport()->reset();
  scene.transport()->set_status(kStatusAcknowledge | kStatusDriver);
  scene.transport()->set_driver_features(~std::uint64_t{0});
  scene.transport()->set_status(kBeforeOk);
  scene.outcome().refused = (scene.transport()->status() & kStatusFeaturesOk) == 0;
  scene.transport()->set_status(kBeforeOk | kStatusDriverOk);
  scene.settle();
}

void features_changed_late(Scene& scene) {
  scene.transport()->set_driver_features(0);
  scene.compose(kBlkTypeIn, 0);
  scene.offer(0);
  scene.settle();
}

void kick_early(Scene& scene) {
  if (!scene.start_halfway()) return;
  scene.begin_outcome();
  scene.compose(kBlkTypeIn, 0);
  scene.offer(0);
  scene.settle();
  // What was rung too early must be found after DRIVER_OK, with one more ring at the latest.
  scene.disk()->go();
  scene.queue()->kick();
  scene.settle();
}

void kick_after_reset(Scene& scene) {
  scene.transport()->reset();
  scene.compose(kBlkTypeIn, 0);
  for (unsigned i = 0; i < 20; ++i) scene.offer(0);
  scene.settle();
}

void kick_bad_index(Scene& scene) {
  const Notifier& notifier = scene.queue()->notifier();
  for (const std::uint32_t index : {1U, 77U, 0x7fffU, 0xffffU, 0xffffffffU}) {
    mmio_write16(notifier.address, static_cast<std::uint16_t>(index));
    mmio_write32(notifier.address, index);
    mmio_write8(notifier.address, static_cast<std::uint8_t>(index));
  }
  if (PciTransport* pci = scene.pci(); pci != nullptr) {
    const std::uint64_t last = pci->notify() + pci->notify_length();
    for (std::uint64_t at = pci->notify(); at < last; at += 2) mmio_write16(at, 0);
    mmio_write16(last - 1, 0);
  }
  scene.settle();
}

// The configuration access window (4.1.4.9): ring through it, honestly and not.
void kick_by_window(Scene& scene) {
  PciTransport* pci = scene.pci();
  scene.outcome().skipped = pci == nullptr || pci->window_capability() == 0;
  if (scene.outcome().skipped) return;
  const PciFunction f = pci->function();
  const std::uint32_t at = pci->window_capability();
  const auto ring = [&](std::uint8_t bar, std::uint32_t offset, std::uint32_t length) {
    f.write8(at + offsetof(PciCap, bar), bar);
    f.write32(at + offsetof(PciCap, offset), offset);
    f.write32(at + offsetof(PciCap, length), length);
    f.write32(at + sizeof(PciCap), 0);
    f.read32(at + sizeof(PciCap));
  };
  for (const std::uint32_t length : {0U, 3U, 8U, 0xffffffffU}) {
    ring(pci->notify_bar(), pci->notify_offset(), length);
  }
  ring(pci->notify_bar(), 0xfffffffcU, 4);
  ring(pci->notify_bar(), 0x00fffffcU, 4);
  ring(7, 0, 4);
  ring(0xff, 0xffffffffU, 4);
  scene.compose(kBlkTypeIn, 0);
  RingVandal vandal = scene.ring();
  vandal.set_avail_entry(0, 0);
  vandal.set_avail_index(1);
  ring(pci->notify_bar(), pci->notify_offset(), 2);
  scene.settle();
}

struct Storm {
  Scene* scene;
  volatile std::uint32_t over;
};

void storm(std::uint32_t cpu, void* context) {
  auto* state = static_cast<Storm*>(context);
  const Notifier notifier = state->scene->queue()->notifier();
  if (cpu != 0) {
    while (load_acquire(&state->over) == 0) ring(notifier);
    return;
  }
  for (unsigned round = 0; round < 20; ++round) {
    state->scene->transport()->reset();
    for (unsigned i = 0; i < 10; ++i) ring(notifier);
    state->scene->start();
    state->scene->compose(kBlkTypeIn, 0);
    for (unsigned i = 0; i < 4; ++i) state->scene->offer(0);
  }
  store_release(&state->over, std::uint32_t{1});
}

void kick_storm(Scene& scene) {
  Storm state{&scene, 0};
  run_on_processors(scene.vcpus(), storm, &state);
  scene.settle();
}

void bar_moved(Scene& scene) {
  PciTransport* pci = scene.pci();
  scene.outcome().skipped = pci == nullptr;
  if (pci == nullptr) return;
  constexpr std::uint64_t kRoom = 0x100000;
  const PciFunction f = pci->function();
  const std::uint64_t old = scene.queue()->notifier().address;
  const std::uint16_t command = f.read16(kPciCommandOffset);
  const std::uint64_t bar = f.bar_address(pci->notify_bar());
  scene.compose(kBlkTypeIn, 0);
  scene.offer(0);
  for (unsigned round = 0; round < 10; ++round) {
    // With decoding on, as sizing by careless firmware does it, then properly.
    scene.queue()->kick();
    if (round % 2 == 1) {
      f.write16(kPciCommandOffset, static_cast<std::uint16_t>(command & ~kPciCommandMemory));
    }
    // Not onto the interrupt controllers, which lie high.
    const std::uint64_t distance = kRoom * (1 + round);
    f.set_bar(pci->notify_bar(), bar < 0xf0000000 ? bar + distance : bar - distance);
    f.write16(kPciCommandOffset, command);
    mmio_write16(old, 0);
  }
  f.set_bar(pci->notify_bar(), bar);
  pci->locate();
  scene.queue()->kick();
  scene.settle();
}

void bus_master_off(Scene& scene) {
  PciTransport* pci = scene.pci();
  scene.outcome().skipped = pci == nullptr;
  if (pci == nullptr) return;
  const PciFunction f = pci->function();
  const std::uint16_t command = f.read16(kPciCommandOffset);
  scene.compose(kBlkTypeIn, 0);
  scene.offer(0);
  f.write16(kPciCommandOffset, static_cast<std::uint16_t>(command & ~kPciCommandBusMaster));
  scene.queue()->kick();
  scene.offer(0);
  scene.settle();
  f.write16(kPciCommandOffset, command);
  scene.queue()->kick();
  scene.settle();
}

void reset_in_flight(Scene& scene) {
  for (unsigned round = 0; round < 30; ++round) {
    scene.compose(kBlkTypeIn, 0, 16 * Scene::kDataBytes);
    scene.offer(0);
    // From at once to well after the answer.
    delay_us(round * 10);
    scene.transport()->reset();
    const std::uint16_t used = scene.ring().used_index();
    delay_us(200);
    // Nothing may be written to memory once the reset has been read back.
    if (scene.ring().used_index() != used) scene.outcome().refused = true;
    if (!scene.start()) return;
  }
  scene.begin_outcome();
  scene.settle();
}

/// One honest request with an interrupt wanted; true if `counter` counts within 100 ms.
bool interrupt_arrives(Scene& scene, const volatile std::uint32_t* counter) {
  const std::uint32_t before = load_acquire(counter);
  scene.ring().set_used_event(scene.ring().used_index());
  scene.ring().set_avail_flags(0);
  scene.compose(kBlkTypeIn, 0);
  scene.offer(0);
  const std::uint64_t end = read_tsc() + us_to_cycles(100'000);
  while (load_acquire(counter) == before) {
    if (read_tsc() > end) return false;
    cpu_relax();
  }
  return true;
}

// A masked vector holds its interrupt back as a pending bit, and gives it when unmasked.
// request_status: 1 an interrupt came while masked, 2 no pending bit, 4 none came at unmasking.
void pending_while_masked(Scene& scene) {
  PciTransport* pci = scene.pci();
  scene.outcome().skipped = pci == nullptr || pci->max_vectors() < 2;
  if (scene.outcome().skipped) return;
  const std::uint64_t control =
      pci->msix_table() + sizeof(MsixEntry) + offsetof(MsixEntry, control);
  const volatile std::uint32_t* counter = interrupt_counter(0);
  std::uint8_t faults = 0;
  mmio_write32(control, kMsixEntryMasked);
  if (interrupt_arrives(scene, counter)) faults |= 1;
  if ((mmio_read32(pci->msix_pending()) & 2) == 0) faults |= 2;
  const std::uint32_t before = load_acquire(counter);
  mmio_write32(control, 0);
  const std::uint64_t end = read_tsc() + us_to_cycles(100'000);
  while (load_acquire(counter) == before && read_tsc() < end) cpu_relax();
  if (load_acquire(counter) == before) faults |= 4;
  scene.settle();
  scene.outcome().request_status = faults;
}

// The vector of a live queue is pointed elsewhere: the next interrupt goes there.
// request_status: 1 it did not come at the new vector, 2 not at the old one after the way back.
void vector_changed_live(Scene& scene) {
  PciTransport* pci = scene.pci();
  scene.outcome().skipped = pci == nullptr || pci->max_vectors() < 2;
  if (scene.outcome().skipped) return;
  constexpr unsigned kOther = 9;
  const std::uint64_t data = pci->msix_table() + sizeof(MsixEntry) + offsetof(MsixEntry, data);
  std::uint8_t faults = 0;
  mmio_write32(data, msi_data(kFirstVector + kOther));
  if (!interrupt_arrives(scene, interrupt_counter(kOther))) faults |= 1;
  mmio_write32(data, msi_data(kFirstVector));
  if (!interrupt_arrives(scene, interrupt_counter(0))) faults |= 2;
  for (unsigned i = 0; i < 200; ++i) {
    mmio_write32(data, msi_data(static_cast<std::uint8_t>(kFirstVector + i % 2 * kOther)));
    scene.offer(0);
  }
  mmio_write32(data, msi_data(kFirstVector));
  scene.settle();
  scene.outcome().request_status = faults;
}

}  // namespace

const HostileCase kHostileRegisters[] = {
    {"queue-size-zero", 10, queue_size_zero},
    {"queue-size-odd", 10, queue_size_odd},
    {"queue-size-huge", 10, queue_size_huge},
    {"queue-misaligned", 10, queue_misaligned},
    {"queue-overlapping", 10, queue_overlapping},
    {"queue-outside-ram", 10, queue_outside_ram},
    {"queue-wrapping", 10, queue_wrapping},
    {"rewrite-live", 13, rewrite_live},
    {"rewrite-live-while-busy", 13, rewrite_live_while_busy},
    {"select-out-of-range", 14, select_out_of_range},
    {"vector-out-of-range", 14, vector_out_of_range},
    {"odd-accesses", 14, odd_accesses},
    {"config-space-accesses", 14, config_space_accesses},
    {"status-skipped", 15, status_skipped},
    {"status-taken-back", 15, status_taken_back},
    {"status-failed", 15, status_failed},
    {"features-not-offered", 15, features_not_offered},
    {"features-changed-late", 15, features_changed_late},
    {"kick-early", 16, kick_early},
    {"kick-after-reset", 16, kick_after_reset},
    {"kick-bad-index", 16, kick_bad_index},
    {"kick-by-window", 16, kick_by_window},
    {"kick-storm", 17, kick_storm},
    {"bar-moved", 18, bar_moved},
    {"bus-master-off", 18, bus_master_off},
    {"reset-in-flight", 19, reset_in_flight},
    {"pending-while-masked", 20, pending_while_masked},
    {"vector-changed-live", 20, vector_changed_live},
    {nullptr, 0, nullptr},
};

}  // namespace bellhop::guest
