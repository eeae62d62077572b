#include "transport/pci/pci_root.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>

#include "transport/register_access.h"
#include "virtio/abi/pci.h"

namespace bellhop {

using namespace virtio;

namespace {

// A generic host bridge: the class code is what guests look for.
constexpr PciIdentity kHostBridge{.vendor = 0x1b36,
                                  .device = 0x0008,
                                  .revision = 0,
                                  .class_code = 0x060000,
                                  .subsystem_vendor = 0,
                                  .subsystem = 0};

/// Where nobody answers, a PCI bus reads all ones.
void nobody(std::span<std::byte> data) noexcept { std::ranges::fill(data, std::byte{0xff}); }

}  // namespace

PciRoot::PciRoot(Window memory, Window ports) : host_bridge_(kHostBridge), windows_{memory, ports} {
  functions_[0] = &host_bridge_;
}

Result<unsigned> PciRoot::next_number() const {
  const auto slot = std::ranges::find_if(
      functions_, [](const auto& at) { return at.load(std::memory_order_relaxed) == nullptr; });
  if (slot == functions_.end()) return fail("PCI bus 0 is full: 31 devices at most", ENOSPC);
  return static_cast<unsigned>(slot - functions_.begin());
}

Result<unsigned> PciRoot::add(PciFunction& function) {
  auto number = next_number();
  if (!number) return number;
  for (const IoSpace space : kIoSpaces) {
    if (auto assigned = assign(function, space); !assigned) return forward(assigned);
  }
  functions_[*number].store(&function, std::memory_order_release);
  return number;
}

void PciRoot::remove(unsigned number) noexcept {
  functions_[number].store(nullptr, std::memory_order_release);
}

Status PciRoot::assign(PciFunction& function, IoSpace space) {
  const std::uint64_t bytes = function.bar_bytes(space);
  if (bytes == 0) return {};
  const Window& window = windows_[static_cast<unsigned>(space)];
  const std::uint64_t end = window.base + window.bytes;
  const auto aligned = [bytes](std::uint64_t at) { return (at + bytes - 1) & ~(bytes - 1); };
  std::uint64_t address = aligned(window.base);
  while (const auto other = taken_until(space, address, bytes)) address = aligned(*other);
  if (address > end || bytes > end - address) {
    return fail(fmt::format("no room for {} bytes in the PCI window below {:#x}", bytes, end),
                ENOSPC);
  }
  function.assign_bar(space, address);
  return {};
}

std::optional<std::uint64_t> PciRoot::taken_until(IoSpace space, std::uint64_t address,
                                                  std::uint64_t bytes) const noexcept {
  for (const auto& at : functions_) {
    PciFunction* const other = at.load(std::memory_order_relaxed);
    if (other == nullptr) continue;
    if (const auto end = other->bar_end_within(space, address, bytes)) return end;
  }
  return std::nullopt;
}

void PciRoot::reset() noexcept {
  ports_.reset();
  for (const auto& at : functions_) {
    if (PciFunction* const function = at.load(std::memory_order_relaxed)) function->reset();
  }
}

PciFunction* PciRoot::find(unsigned bus, unsigned device, unsigned function) const noexcept {
  const bool there = bus == 0 && device < kDevices && function == 0;
  return there ? functions_[device].load(std::memory_order_acquire) : nullptr;
}

std::optional<PciRoot::Ports::Target> PciRoot::Ports::target(std::uint64_t port_offset,
                                                             std::size_t bytes) const noexcept {
  constexpr std::uint64_t kData = kPciConfigDataPort - kPortBase;
  if (port_offset < kData || port_offset + bytes > kPortCount) return std::nullopt;
  const std::uint32_t address = address_.load(std::memory_order_relaxed);
  if ((address & kPciConfigEnable) == 0) return std::nullopt;
  PciFunction* function = root_->find(address >> 16 & 0xff, address >> 11 & 0x1f, address >> 8 & 7);
  if (function == nullptr) return std::nullopt;
  return Target{function, (address & 0xfc) + static_cast<std::uint32_t>(port_offset - kData)};
}

bool PciRoot::Ports::is_reset_control(std::uint64_t port_offset, std::size_t bytes) const noexcept {
  return port_offset == 1 && bytes == 1 && reset_control_ != nullptr;
}

void PciRoot::Ports::read(std::uint64_t offset, std::span<std::byte> data) noexcept {
  if (offset == 0 && data.size() == 4) {
    store_le(data, address_.load(std::memory_order_relaxed));
  } else if (is_reset_control(offset, data.size())) {
    reset_control_->read(0, data);
  } else if (const auto found = target(offset, data.size())) {
    found->function->read_config(found->offset, data);
  } else {
    nobody(data);
  }
}

void PciRoot::Ports::write(std::uint64_t offset, std::span<const std::byte> data) noexcept {
  // Only a whole 32-bit write reaches the address register (PCI 3.0, 3.2.2.3.2).
  if (offset == 0 && data.size() == 4) {
    address_.store(static_cast<std::uint32_t>(load_le(data)), std::memory_order_relaxed);
  } else if (is_reset_control(offset, data.size())) {
    reset_control_->write(0, data);
  } else if (const auto found = target(offset, data.size())) {
    found->function->write_config(found->offset, data);
  }
}

PciFunction* PciRoot::Ecam::target(std::uint64_t offset, std::size_t bytes) const noexcept {
  if ((offset & 0xfff) + bytes > PciConfigSpace::kExpressBytes) return nullptr;
  return root_->find(static_cast<unsigned>(offset >> 20),
                     static_cast<unsigned>(offset >> 15 & 0x1f),
                     static_cast<unsigned>(offset >> 12 & 7));
}

void PciRoot::Ecam::read(std::uint64_t offset, std::span<std::byte> data) noexcept {
  if (PciFunction* function = target(offset, data.size())) {
    function->read_config(static_cast<std::uint32_t>(offset & 0xfff), data);
  } else {
    nobody(data);
  }
}

void PciRoot::Ecam::write(std::uint64_t offset, std::span<const std::byte> data) noexcept {
  if (PciFunction* function = target(offset, data.size())) {
    function->write_config(static_cast<std::uint32_t>(offset & 0xfff), data);
  }
}

}  // namespace bellhop
