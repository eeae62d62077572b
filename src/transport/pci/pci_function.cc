#include "transport/pci/pci_function.h"

#include <bit>
#include <cassert>

#include "virtio/abi/pci.h"

namespace bellhop {

using namespace virtio;

namespace {

[[maybe_unused]] constexpr std::uint64_t kBarFlags = 0xf;

constexpr std::uint16_t command_bit(IoSpace space) noexcept {
  return space == IoSpace::kMmio ? kPciCommandMemory : kPciCommandIo;
}

bool overlaps(std::uint32_t offset, std::size_t bytes, std::uint32_t field,
              std::size_t field_bytes) noexcept {
  return offset < field + field_bytes && field < offset + bytes;
}

}  // namespace

PciFunction::PciFunction(const PciIdentity& identity) {
  config_.define(kPciVendorIdOffset, 2, identity.vendor);
  config_.define(kPciDeviceIdOffset, 2, identity.device);
  config_.define(kPciCommandOffset, 2, 0, commands_);
  config_.define(kPciRevisionOffset, 1, identity.revision);
  config_.define(kPciClassOffset, 3, identity.class_code);
  config_.define(kPciSubsystemVendorOffset, 2, identity.subsystem_vendor);
  config_.define(kPciSubsystemIdOffset, 2, identity.subsystem);
  // A scratch register for software; there is no interrupt pin to go with it.
  config_.define(kPciInterruptLineOffset, 1, 0, 0xff);
}

void PciFunction::add_bar(IoSpace space, unsigned index, std::uint64_t bytes) noexcept {
  assert(std::has_single_bit(bytes) && bytes > kBarFlags);
  const bool memory = space == IoSpace::kMmio;
  Bar& added = bar(space);
  added = {.offset = static_cast<std::uint8_t>(kPciBar0Offset + 4 * index),
           .width = static_cast<std::uint8_t>(memory ? 8 : 4),
           .bytes = bytes,
           .flags = memory ? kPciBarType64 : kPciBarIo,
           .assigned = 0,
           .decoded = std::nullopt};
  config_.define(added.offset, added.width, added.flags, ~(bytes - 1));
  commands_ |= command_bit(space);
  config_.define(kPciCommandOffset, 2, 0, commands_);
}

void PciFunction::assign_bar(IoSpace space, std::uint64_t address) noexcept {
  const std::lock_guard<std::mutex> hold(lock_);
  Bar& assigned = bar(space);
  assigned.assigned = address;
  config_.set(assigned.offset, assigned.width, address | assigned.flags);
}

std::optional<std::uint64_t> PciFunction::bar_end_within(IoSpace space, std::uint64_t address,
                                                         std::uint64_t bytes) noexcept {
  const std::lock_guard<std::mutex> hold(lock_);
  const Bar& mine = bar(space);
  if (mine.bytes == 0) return std::nullopt;
  for (const std::uint64_t at : {mine.assigned, mine.decoded.value_or(mine.assigned)}) {
    if (at < address + bytes && address < at + mine.bytes) return at + mine.bytes;
  }
  return std::nullopt;
}

void PciFunction::read_config(std::uint32_t offset, std::span<std::byte> data) noexcept {
  const std::lock_guard<std::mutex> hold(lock_);
  before_config_read(offset, data.size());
  config_.read(offset, data);
}

void PciFunction::write_config(std::uint32_t offset, std::span<const std::byte> data) noexcept {
  const std::lock_guard<std::mutex> hold(lock_);
  config_.write(offset, data);
  const bool decoding = overlaps(offset, data.size(), kPciCommandOffset, 2) ||
                        overlaps(offset, data.size(), kPciBar0Offset, 4 * kPciBarCount);
  if (decoding) apply_command_and_bars();
  after_config_write(offset, data.size());
}

void PciFunction::apply_command_and_bars() noexcept {
  const std::uint64_t command = config_.get(kPciCommandOffset, 2);
  for (const IoSpace space : kIoSpaces) {
    Bar& changed = bar(space);
    if (changed.bytes == 0) continue;
    std::optional<std::uint64_t> address;
    if ((command & command_bit(space)) != 0) {
      address = config_.get(changed.offset, changed.width) & ~(changed.bytes - 1);
    }
    if (address == changed.decoded) continue;
    changed.decoded = address;
    bar_moved(space, address);
  }
  const bool bus_master = (command & kPciCommandBusMaster) != 0;
  if (bus_master != bus_master_) {
    bus_master_ = bus_master;
    bus_master_changed(bus_master);
  }
}

void PciFunction::reset() noexcept {
  const std::lock_guard<std::mutex> hold(lock_);
  was_reset();
  config_.set(kPciCommandOffset, 2, 0);
  config_.set(kPciInterruptLineOffset, 1, 0);
  for (const Bar& assigned : bars_) {
    if (assigned.bytes != 0) {
      config_.set(assigned.offset, assigned.width, assigned.assigned | assigned.flags);
    }
  }
  apply_command_and_bars();
}

}  // namespace bellhop
