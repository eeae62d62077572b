#include "transport/pci/pci_function.h"

#include <bit>
#include <cassert>

#include "virtio/abi/pci.h"

namespace bellhop {

using namespace virtio;

namespace {

constexpr std::uint64_t kBarFlags = 0xf;

bool overlaps(std::uint32_t offset, std::size_t bytes, std::uint32_t field,
              std::size_t field_bytes) noexcept {
  return offset < field + field_bytes && field < offset + bytes;
}

}  // namespace

PciFunction::PciFunction(const PciIdentity& identity) {
  config_.define(kPciVendorIdOffset, 2, identity.vendor);
  config_.define(kPciDeviceIdOffset, 2, identity.device);
  config_.define(kPciCommandOffset, 2, 0,
                 kPciCommandMemory | kPciCommandBusMaster | kPciCommandIntxDisable);
  config_.define(kPciRevisionOffset, 1, identity.revision);
  config_.define(kPciClassOffset, 3, identity.class_code);
  config_.define(kPciSubsystemVendorOffset, 2, identity.subsystem_vendor);
  config_.define(kPciSubsystemIdOffset, 2, identity.subsystem);
  // A scratch register for software; there is no interrupt pin to go with it.
  config_.define(kPciInterruptLineOffset, 1, 0, 0xff);
}

void PciFunction::add_memory_bar(std::uint64_t bytes) noexcept {
  assert(std::has_single_bit(bytes) && bytes > kBarFlags);
  bar_bytes_ = bytes;
  config_.define(kPciBar0Offset, 8, kPciBarType64, ~(bytes - 1));
}

void PciFunction::assign_bar(std::uint64_t address) noexcept {
  const std::lock_guard<std::mutex> hold(lock_);
  assigned_ = address;
  config_.set(kPciBar0Offset, 8, address | kPciBarType64);
}

void PciFunction::read_config(std::uint32_t offset, std::span<std::byte> data) noexcept {
  const std::lock_guard<std::mutex> hold(lock_);
  before_config_read(offset, data.size());
  config_.read(offset, data);
}

void PciFunction::write_config(std::uint32_t offset, std::span<const std::byte> data) noexcept {
  const std::lock_guard<std::mutex> hold(lock_);
  config_.write(offset, data);
  if (overlaps(offset, data.size(), kPciCommandOffset, 2) ||
      overlaps(offset, data.size(), kPciBar0Offset, 8)) {
    apply_command_and_bar();
  }
  after_config_write(offset, data.size());
}

void PciFunction::apply_command_and_bar() noexcept {
  const std::uint64_t command = config_.get(kPciCommandOffset, 2);
  std::optional<std::uint64_t> address;
  if (bar_bytes_ != 0 && (command & kPciCommandMemory) != 0) {
    address = config_.get(kPciBar0Offset, 8) & ~kBarFlags;
  }
  if (address != decoded_) {
    decoded_ = address;
    bar_moved(address);
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
  if (bar_bytes_ != 0) config_.set(kPciBar0Offset, 8, assigned_ | kPciBarType64);
  apply_command_and_bar();
}

}  // namespace bellhop
