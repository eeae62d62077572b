#include "tests/fuzz/machine/guest.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <thread>
#include <utility>

#include "machine/address_map.h"
#include "transport/pci/pci_root.h"
#include "transport/pci/virtio_pci_device.h"
#include "virtio/abi/blk.h"
#include "virtio/abi/config.h"
#include "virtio/abi/mmio.h"
#include "virtio/abi/pci.h"
#include "virtio/abi/pci_legacy.h"
#include "virtio/abi/ring.h"

namespace bellhop::fuzz {

using namespace virtio;
using testing::MmioRegisterDriver;
using testing::PciRegisterDriver;
using testing::RegisterDriver;

namespace {

constexpr std::uint64_t kMmioBase = 0xd000'0000;
constexpr std::uint64_t kMmioStride = 0x1000;
constexpr std::uint64_t kRingBytes = 0x4000;
constexpr std::uint16_t kMaxSize = 256;

constexpr unsigned kWidths[] = {1, 2, 4, 8};
constexpr std::uint64_t kAddresses[] = {
    0,          0x1000,     GuestRam::kRings, GuestRam::kBuffers, GuestRam::kBytes - 8,
    0xc0000000, 0xe0000000, 0xd0000000,       0xfffffffffffffff0, 0x7fffffffffffffff,
};

}  // namespace

void broken(std::string_view what) {
  std::fprintf(stderr, "machine_fuzz: %.*s\n", static_cast<int>(what.size()), what.data());
  std::abort();
}

// ---- RAM and exits ----

void GuestRam::write(std::uint64_t address, std::span<const std::byte> bytes) const {
  if (address >= kBytes || bytes.size() > kBytes - address) return;
  if (::pwrite(fd_, bytes.data(), bytes.size(), static_cast<off_t>(address)) < 0) std::abort();
}

void GuestRam::read(std::uint64_t address, std::span<std::byte> bytes) const {
  if (address >= kBytes || bytes.size() > kBytes - address) return;
  if (::pread(fd_, bytes.data(), bytes.size(), static_cast<off_t>(address)) < 0) std::abort();
}

void VcpuPort::exit(VcpuExit::Reason reason, std::uint64_t address,
                    std::span<std::byte> data) const {
  std::optional<std::vector<std::byte>> answer;
  if (!over_) {
    answer = vcpu_.perform_unless({.reason = reason,
                                   .address = address,
                                   .data = std::vector<std::byte>(data.begin(), data.end()),
                                   .detail = 0},
                                  [this] { return shared_.machine.ended(); });
  }
  over_ = !answer;
  if (over_) {
    std::ranges::fill(data, std::byte{0xff});
  } else {
    std::ranges::copy(*answer, data.begin());
  }
}

void VcpuPort::leave(VcpuExit::Reason reason, std::uint64_t detail) {
  if (over_) return;
  over_ = !vcpu_.perform_unless({.reason = reason, .address = 0, .data = {}, .detail = detail},
                                [this] { return shared_.machine.ended(); });
}

// ---- Guest ----

Guest::Guest(Shared& shared, unsigned vcpu)
    : shared_(shared), port_(shared, vcpu), sizes_(shared.devices.size()) {
  for (unsigned i = 0; i < shared.devices.size(); ++i) {
    Target one;
    one.kind = shared.devices[i];
    if (shared.transport == TransportKind::kMmio) {
      one.number = i;
      one.driver = std::make_unique<MmioRegisterDriver>(port_, kMmioBase + kMmioStride * i);
    } else {
      one.number = i + 1;  // the host bridge is 0
      auto driver = std::make_unique<PciRegisterDriver>(port_, one.number);
      one.pci = driver.get();
      one.driver = std::move(driver);
    }
    targets_.push_back(std::move(one));
    sizes_[i].fill(16);
  }
}

Guest::Layout Guest::layout(std::uint64_t at, std::uint16_t size) {
  Layout ring;
  ring.size = size;
  ring.desc = at;
  ring.avail = at + desc_table_bytes(size);
  ring.used = (ring.avail + avail_ring_bytes(size) + 0xfff) & ~std::uint64_t{0xfff};
  return ring;
}

std::uint64_t Guest::ring_at(unsigned device, unsigned queue) const {
  return GuestRam::kRings + (std::uint64_t{device} * kMaxQueues + queue) * kRingBytes;
}

Guest::Target& Guest::target(Input& input) { return targets_[input.u8() % targets_.size()]; }

/// One whose place on the bus may change: not the bystander, if there is another.
Guest::Target& Guest::movable(Input& input) {
  const std::size_t number = input.u8();
  return targets_.size() > 1 ? targets_[1 + number % (targets_.size() - 1)] : targets_[0];
}

void Guest::probe(Target& target) {
  if (target.pci == nullptr || std::exchange(target.probed, true)) return;
  (void)target.pci->probe();
  const std::uint32_t bar = target.pci->config_read(kPciBar0Offset, 4);
  if ((bar & kPciBarIo) != 0) target.ports = bar & ~std::uint32_t{3};
}

std::uint64_t Guest::value(Input& input) {
  switch (input.below(6)) {
    case 0:
      return input.u8();
    case 1:
      return input.u16();
    case 2:
      return input.u32();
    case 3:
      return input.pick(kAddresses);
    case 4:
      return GuestRam::kRings + input.u16() * std::uint64_t{16};
    default:
      return UINT64_MAX << (input.u8() & 63);
  }
}

void Guest::step(unsigned op, Input& input) {
  switch (op % kOps) {
    case 0:
    case 1:
    case 2:
      return bring_up(input);
    case 3:
    case 4:
    case 5:
    case 6:
      return request(input);
    case 7:
    case 8:
    case 9:
      return access_register(true, input);
    case 10:
      return access_register(false, input);
    case 11:
      return access_config(false, input);
    case 12:
      return access_config(true, input);
    case 13:
      return access_port(input);
    case 14:
    case 15:
      return msix(input);
    case 16:
      return scribble(input);
    case 17:
      return ring_indices(input);
    case 18:
    case 19:
      return kicks(input);
    case 20: {
      Target& one = target(input);
      probe(one);
      one.driver->set_status(input.chance(2) ? 0 : input.u8());
      return;
    }
    case 21: {
      Target& one = movable(input);
      if (one.pci == nullptr) return access_register(true, input);
      probe(one);
      // Memory decoding mostly stays on: without it nothing else is reached.
      std::uint16_t command = kPciCommandIo | kPciCommandIntxDisable;
      if (!input.chance(4)) command |= kPciCommandMemory;
      if (!input.chance(2)) command |= kPciCommandBusMaster;
      one.pci->set_command(command);
      return;
    }
    case 22:
      return input.chance(3) ? reset_queue(input) : legacy_bring_up(input);
    default: {
      if (!input.chance(16)) return;
      static constexpr VcpuExit::Reason kReasons[] = {
          VcpuExit::Reason::kHalt, VcpuExit::Reason::kShutdown, VcpuExit::Reason::kSystemEvent,
          VcpuExit::Reason::kInternalError, VcpuExit::Reason::kOther};
      return port_.leave(input.pick(kReasons), input.u8());
    }
  }
}

void Guest::bring_up(Input& input) {
  Target& one = target(input);
  const auto device = static_cast<unsigned>(&one - targets_.data());
  probe(one);
  // Undoes what went before, most of the time.
  if (one.pci != nullptr && !input.chance(4)) (void)one.pci->probe();
  std::uint64_t features = one.driver->device_features();
  switch (input.below(8)) {
    case 0:
    case 1:
    case 2:
      break;
    case 3:
      features &= ~feature_mask(kFeatureEventIdx);
      break;
    case 4:
      features &= ~(feature_mask(kFeatureIndirectDesc) | feature_mask(kFeatureEventIdx));
      break;
    case 5:
      features = feature_mask(kFeatureVersion1);
      break;
    case 6:
      features &= feature_mask(kFeatureVersion1) | input.u64();
      break;
    default:
      features ^= feature_mask(input.u8() & 63);
      break;
  }
  const std::uint8_t how = input.u8();
  std::vector<QueueConfig> queues;
  for (std::uint16_t queue = 0; queue < kMaxQueues; ++queue) {
    const std::uint32_t max = one.driver->queue_max_size(queue);
    if (max == 0 || max > 32768) break;
    static constexpr std::uint16_t kSizes[] = {256, 16, 1, 2, 4, 64, 128, 8};
    std::uint16_t size = std::min<std::uint16_t>(
        kSizes[(how & 7)], static_cast<std::uint16_t>(std::min<std::uint32_t>(max, kMaxSize)));
    const Layout ring = layout(ring_at(device, queue), size);
    {
      const std::shared_lock<std::shared_mutex> hold(shared_.running);
      shared_.ram.write(ring.desc, std::vector<std::byte>(kRingBytes));
    }
    sizes_[device][queue] = size;
    QueueConfig config;
    config.size = size;
    config.ready = true;
    config.desc = GuestAddress(ring.desc);
    config.driver = GuestAddress(ring.avail);
    config.device = GuestAddress(ring.used);
    queues.push_back(config);
  }
  if (one.pci != nullptr && (how & 8) == 0) {
    for (unsigned vector = 0; vector < std::min<std::size_t>(queues.size(), 2); ++vector) {
      one.pci->write_vector(vector, 0xfee00000, 0x40 + vector, false);
    }
  }
  (void)one.driver->bring_up(features, queues);
  one.features = features;
}

void Guest::legacy_bring_up(Input& input) {
  Target& one = target(input);
  const auto device = static_cast<unsigned>(&one - targets_.data());
  probe(one);
  if (one.ports == 0) return;
  one.pci->set_command(kPciCommandIo | kPciCommandMemory | kPciCommandBusMaster);
  const auto out = [&](std::uint32_t at, std::uint32_t value, unsigned width) {
    port_.out(static_cast<std::uint16_t>(one.ports + at), value, width);
  };
  const auto in = [&](std::uint32_t at, unsigned width) {
    return port_.in(static_cast<std::uint16_t>(one.ports + at), width);
  };
  out(kLegacyDeviceStatus, 0, 1);
  out(kLegacyDeviceStatus, kStatusAcknowledge | kStatusDriver, 1);
  std::uint32_t features = in(kLegacyDeviceFeatures, 4);
  if (input.chance(3)) features ^= input.u32();
  out(kLegacyDriverFeatures, features, 4);
  for (std::uint16_t queue = 0; queue < kMaxQueues; ++queue) {
    out(kLegacyQueueSelect, queue, 2);
    const std::uint32_t size = in(kLegacyQueueSize, 2);
    if (size == 0 || size > kMaxSize) break;
    sizes_[device][queue] = static_cast<std::uint16_t>(size);
    {
      const std::shared_lock<std::shared_mutex> hold(shared_.running);
      shared_.ram.write(ring_at(device, queue), std::vector<std::byte>(kRingBytes));
    }
    out(kLegacyQueueAddress, static_cast<std::uint32_t>(ring_at(device, queue) >> kLegacyPageShift),
        4);
  }
  out(kLegacyDeviceStatus, kStatusAcknowledge | kStatusDriver | kStatusDriverOk, 1);
  for (unsigned i = input.below(4); i > 0; --i)
    out(input.below(32), input.u32(), input.pick(kWidths) & 7);
}

/// One queue, and, mostly, a ring for it again; in any state of the device.
void Guest::reset_queue(Input& input) {
  Target& one = target(input);
  const auto device = static_cast<unsigned>(&one - targets_.data());
  probe(one);
  const auto queue = static_cast<std::uint16_t>(input.below(kMaxQueues));
  one.driver->reset_queue(queue);
  if (input.chance(4)) return;
  const std::uint32_t max = one.driver->queue_max_size(queue);
  if (max == 0) return;
  const auto size = static_cast<std::uint16_t>(
      std::min<std::uint32_t>({max, kMaxSize, std::uint32_t{1} << input.below(9)}));
  const Layout ring = layout(ring_at(device, queue), size);
  {
    const std::shared_lock<std::shared_mutex> hold(shared_.running);
    if (!input.chance(4)) shared_.ram.write(ring.desc, std::vector<std::byte>(kRingBytes));
  }
  sizes_[device][queue] = size;
  QueueConfig config;
  config.size = input.chance(8) ? input.u16() : size;
  config.desc = GuestAddress(ring.desc);
  config.driver = GuestAddress(ring.avail);
  config.device = GuestAddress(input.chance(8) ? value(input) : ring.used);
  one.driver->write_queue(queue, config);
  one.driver->enable_queue(queue);
}

void Guest::access_register(bool store, Input& input) {
  Target& one = target(input);
  std::uint64_t at = 0;
  unsigned width = input.pick(kWidths);
  if (one.pci == nullptr) {
    static constexpr std::uint32_t kRegisters[] = {
        kMmioQueueSel,       kMmioQueueSize,      kMmioQueueReady,     kMmioQueueNotify,
        kMmioStatus,         kMmioQueueReset,     kMmioInterruptAck,   kMmioQueueDescLow,
        kMmioQueueDriverLow, kMmioQueueDeviceLow, kMmioDriverFeatures, kMmioDriverFeaturesSel,
        kMmioConfig};
    at = kMmioBase + kMmioStride * one.number;
    at += input.chance(4) ? input.u16() & 0x1fff : input.pick(kRegisters) + input.below(2) * 4;
    if (!input.chance(4)) width = 4;
  } else {
    using Device = VirtioPciDevice;
    probe(one);
    static constexpr std::uint64_t kParts[] = {Device::kCommonOffset, Device::kCommonOffset,
                                               Device::kCommonOffset, Device::kIsrOffset,
                                               Device::kDeviceOffset, Device::kNotifyOffset,
                                               Device::kTableOffset,  Device::kPendingOffset};
    const std::uint64_t part = input.pick(kParts);
    at = one.pci->bar() + part + (input.chance(8) ? input.u16() : input.u8() & 0x3f);
    if (!input.chance(4)) at &= ~std::uint64_t{width - 1};
  }
  if (store) {
    port_.store(at, value(input), width);
  } else {
    (void)port_.load(at, width);
  }
}

void Guest::access_config(bool by_ports, Input& input) {
  Target& one = movable(input);
  if (one.pci == nullptr) return access_register(true, input);
  probe(one);
  static constexpr std::uint32_t kOffsets[] = {
      kPciCommandOffset, kPciBar0Offset, 0x14, 0x18, 0x1c, kPciInterruptLineOffset, 0x40};
  std::uint32_t at = input.pick(kOffsets);
  if (input.chance(2)) at = input.u8();
  if (input.chance(4)) at = one.pci->window() + 4U * input.below(5);
  const unsigned width = input.pick(kWidths) & 7U;
  const std::uint64_t number = value(input);
  if (by_ports) {
    one.pci->config_write(at, static_cast<std::uint32_t>(number), width == 0 ? 4 : width);
  } else if (input.chance(4)) {
    one.pci->move_bar(0xe0000000 + 0x8000ULL * input.below(16));
  } else {
    const std::uint64_t address = kEcam.address + (std::uint64_t{one.number} << 15) + at;
    if (input.chance(3)) {
      (void)port_.load(address, width == 0 ? 4 : width);
    } else {
      port_.store(address, number, width == 0 ? 4 : width);
    }
  }
  if (input.chance(2)) one.pci->locate();
}

void Guest::access_port(Input& input) {
  static constexpr std::uint16_t kPorts[] = {0x3f8, 0x3f9, 0x3fb, 0x3fd, 0xcf8, 0xcfc,  0x70,  0x71,
                                             0x600, 0x602, 0x604, 0x608, 0xf8,  0x1000, 0x1010};
  std::uint16_t at = input.pick(kPorts);
  if (input.chance(8)) at = static_cast<std::uint16_t>(at + input.u8());
  static constexpr unsigned kPortWidths[] = {1, 2, 4};
  const unsigned width = input.pick(kPortWidths);
  if (input.chance(2)) {
    (void)port_.in(at, width);
  } else {
    port_.out(at, static_cast<std::uint32_t>(value(input)), width);
  }
}

void Guest::msix(Input& input) {
  Target& one = target(input);
  if (one.pci == nullptr) return access_register(true, input);
  probe(one);
  const unsigned vector = input.below(10);
  switch (input.below(6)) {
    case 0:
      return one.pci->mask_vector(vector, true);
    case 1:
      return one.pci->mask_vector(vector, false);
    case 2:
      return one.pci->write_vector(vector, 0xfee00000 + input.below(4) * 0x1000U, input.u8(),
                                   input.chance(3));
    case 3:
      return one.pci->set_msix_control(
          static_cast<std::uint16_t>((input.chance(4) ? 0 : kMsixControlEnable) |
                                     (input.chance(2) ? kMsixControlMaskAll : 0)));
    case 4:
      one.pci->set_common(kCommonQueueSelect, input.below(kMaxQueues), 2);
      return one.pci->set_common(kCommonQueueMsixVector,
                                 input.chance(4) ? input.u16() : input.below(10), 2);
    default:
      return one.pci->set_common(kCommonConfigMsixVector, input.below(12), 2);
  }
}

void Guest::scribble(Input& input) {
  const auto device = static_cast<unsigned>(&target(input) - targets_.data());
  std::uint64_t at = ring_at(device, input.below(kMaxQueues));
  if (input.chance(4)) at = GuestRam::kBuffers;
  at += input.u16() & 0x3fffU;
  const auto bytes = input.bytes(1 + input.below(32));
  const std::shared_lock<std::shared_mutex> hold(shared_.running);
  shared_.ram.write(at, std::as_bytes(bytes));
}

void Guest::ring_indices(Input& input) {
  const auto device = static_cast<unsigned>(&target(input) - targets_.data());
  const unsigned queue = input.below(kMaxQueues);
  const Layout ring = layout(ring_at(device, queue), sizes_[device][queue]);
  const unsigned what = input.below(4);
  const auto number = static_cast<std::uint16_t>(input.chance(2) ? input.u16() : input.below(8));
  const std::shared_lock<std::shared_mutex> hold(shared_.running);
  const auto avail = shared_.ram.get<std::uint16_t>(ring.avail + kAvailIdxOffset);
  switch (what) {
    case 0:  // old heads once more
      shared_.ram.put(ring.avail + kAvailIdxOffset, static_cast<std::uint16_t>(avail + number));
      return;
    case 1:
      shared_.ram.put(ring.avail + kAvailFlagsOffset, number);
      return;
    case 2:
      shared_.ram.put(ring.avail + used_event_offset(ring.size), number);
      return;
    default:
      shared_.ram.put(ring.used + kUsedIdxOffset, number);
      return;
  }
}

void Guest::kicks(Input& input) {
  Target& one = target(input);
  probe(one);
  const auto queue = static_cast<std::uint16_t>(input.below(kMaxQueues));
  for (unsigned i = input.chance(4) ? input.below(64) : 1; i > 0 && !port_.over(); --i) {
    one.driver->kick(queue);
  }
}

// ---- checks ----

void Guest::calm() {
  // All away first: one may lie where another belongs.
  for (Target& one : targets_) {
    probe(one);
    if (one.pci != nullptr) one.pci->set_command(0);
  }
  for (Target& one : targets_) {
    if (one.pci != nullptr) {
      one.pci->move_bar(kPciMemory.address + VirtioPciDevice::kBarBytes * (one.number - 1));
      one.pci->set_command(kPciCommandMemory);
    }
    one.driver->set_status(0);
  }
}

/// Offers a chain as the ring's `nth` and waits for it. The ring's entries are used one by one.
bool Guest::chain_done(RegisterDriver& driver, const Layout& ring, std::uint16_t nth,
                       std::span<const Piece> pieces, std::chrono::seconds patience) {
  const GuestRam& ram = shared_.ram;
  for (std::uint32_t i = 0; i < pieces.size(); ++i) {
    Desc desc{};
    desc.addr = pieces[i].address;
    desc.len = pieces[i].length;
    if (pieces[i].device_writes) desc.flags |= kDescWrite;
    if (i + 1 < pieces.size()) desc.flags |= kDescNext;
    desc.next = static_cast<std::uint16_t>(i + 1);
    ram.put(ring.desc + sizeof(Desc) * i, desc);
  }
  ram.put(ring.avail + kAvailRingOffset + 2U * (nth % ring.size), std::uint16_t{0});
  ram.put(ring.avail + kAvailIdxOffset, static_cast<std::uint16_t>(nth + 1));
  driver.kick(0);
  const auto end = std::chrono::steady_clock::now() + patience;
  for (unsigned turn = 0;; ++turn) {
    const auto used = ram.get<std::uint16_t>(ring.used + kUsedIdxOffset);
    if (used == nth + 1) break;
    if (used != nth) return false;
    if (std::chrono::steady_clock::now() > end) return false;
    if (turn > 20) std::this_thread::sleep_for(std::chrono::microseconds(20));
  }
  return ram.get<std::uint32_t>(ring.used + kUsedRingOffset + 8U * (nth % ring.size)) == 0;
}

std::string_view Guest::check(unsigned device, std::chrono::seconds patience) {
  Target& one = targets_[device];
  const GuestRam& ram = shared_.ram;
  probe(one);
  if (one.pci != nullptr) (void)one.pci->probe();
  RegisterDriver& driver = *one.driver;
  driver.set_status(0);
  if (driver.status() != 0) return "a device is not reset";
  // Size 16 where the queue has it; the options of some runs make it smaller.
  const std::uint32_t max = driver.queue_max_size(0);
  if (max == 0 || max > 32768) return "a device has lost its queue";
  const Layout ring = layout(GuestRam::kPrivate, static_cast<std::uint16_t>(std::min(max, 16U)));
  ram.write(ring.desc, std::vector<std::byte>(kRingBytes));
  QueueConfig config;
  config.size = ring.size;
  config.ready = true;
  config.desc = GuestAddress(ring.desc);
  config.driver = GuestAddress(ring.avail);
  config.device = GuestAddress(ring.used);
  // A back end that has gone is noticed when it is needed; the next start finds a new one.
  for (unsigned tries = one.kind == Kind::kFs ? 2 : 1; tries > 0; --tries) {
    if (driver.bring_up(feature_mask(kFeatureVersion1), std::span(&config, 1))) break;
    if (tries > 1) continue;
    return "a device does not come up after a reset";
  }
  constexpr std::uint64_t kData = GuestRam::kPrivate + kRingBytes;
  if (one.kind == Kind::kRng) {
    const std::array<Piece, 1> chain{Piece{kData, 64, true}};
    return chain_done(driver, ring, 0, chain, patience) ? "" : "no entropy after a reset";
  }
  if (one.kind != Kind::kBlk) return "";
  constexpr std::uint32_t kBytes = 1024;
  constexpr std::uint64_t kHeader = kData + 0x1000;
  constexpr std::uint64_t kStatus = kData + 0x2000;
  static std::atomic<std::uint32_t> seed{1};
  std::array<std::uint32_t, kBytes / 4> pattern{};
  std::uint32_t number = seed.fetch_add(1) * 2654435761U;
  for (std::uint32_t& word : pattern) word = number += 0x9e3779b9U;
  std::uint16_t nth = 0;
  for (const std::uint32_t type : {kBlkTypeOut, kBlkTypeIn}) {
    BlkRequestHeader header{};
    header.type = type;
    header.sector = 2;
    ram.put(kHeader, header);
    ram.put(kStatus, std::uint8_t{0x77});
    if (type == kBlkTypeOut) ram.put(kData, pattern);
    if (type == kBlkTypeIn) ram.write(kData, std::vector<std::byte>(kBytes));
    const std::array<Piece, 3> chain{Piece{kHeader, sizeof header, false},
                                     Piece{kData, kBytes, type == kBlkTypeIn},
                                     Piece{kStatus, 1, true}};
    if (!chain_done(driver, ring, nth++, chain, patience))
      return "a disk does not answer after a reset";
    if (ram.get<std::uint8_t>(kStatus) != kBlkStatusOk) return "a disk fails after a reset";
  }
  if (ram.get<decltype(pattern)>(kData) != pattern) return "a disk has lost what was written";
  return "";
}

}  // namespace bellhop::fuzz
