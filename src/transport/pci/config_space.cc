#include "transport/pci/config_space.h"

#include <algorithm>
#include <cassert>

#include "virtio/abi/pci.h"

namespace bellhop {

using namespace virtio;

void PciConfigSpace::define(std::uint32_t offset, unsigned bytes, std::uint64_t value,
                            std::uint64_t writable) noexcept {
  set(offset, bytes, value);
  for (unsigned i = 0; i < bytes; ++i) {
    writable_[offset + i] = static_cast<std::uint8_t>(writable >> (8 * i));
  }
}

void PciConfigSpace::set(std::uint32_t offset, unsigned bytes, std::uint64_t value) noexcept {
  assert(bytes <= 8 && offset + bytes <= kBytes);
  for (unsigned i = 0; i < bytes; ++i) {
    bytes_[offset + i] = static_cast<std::uint8_t>(value >> (8 * i));
  }
}

std::uint64_t PciConfigSpace::get(std::uint32_t offset, unsigned bytes) const noexcept {
  assert(bytes <= 8 && offset + bytes <= kBytes);
  std::uint64_t value = 0;
  for (unsigned i = 0; i < bytes; ++i) {
    value |= std::uint64_t{bytes_[offset + i]} << (8 * i);
  }
  return value;
}

std::uint8_t PciConfigSpace::add_capability(std::span<const std::byte> body) noexcept {
  const std::uint32_t offset = next_capability_;
  assert(body.size() >= 2 && offset + body.size() <= kBytes);
  if (link_ == 0) {
    link_ = kPciCapPointerOffset;
    bytes_[kPciStatusOffset] |= kPciStatusCapList;
  }
  for (std::size_t i = 0; i < body.size(); ++i) {
    bytes_[offset + i] = std::to_integer<std::uint8_t>(body[i]);
  }
  bytes_[offset + 1] = 0;
  bytes_[link_] = static_cast<std::uint8_t>(offset);
  link_ = static_cast<std::uint8_t>(offset + 1);
  next_capability_ = (offset + static_cast<std::uint32_t>(body.size()) + 3) & ~3U;
  return static_cast<std::uint8_t>(offset);
}

void PciConfigSpace::read(std::uint32_t offset, std::span<std::byte> data) const noexcept {
  for (std::size_t i = 0; i < data.size(); ++i) {
    const std::size_t at = offset + i;
    data[i] = at < kBytes ? std::byte{bytes_[at]} : std::byte{0};
  }
}

void PciConfigSpace::write(std::uint32_t offset, std::span<const std::byte> data) noexcept {
  for (std::size_t i = 0; i < data.size(); ++i) {
    const std::size_t at = offset + i;
    if (at >= kBytes) return;
    const unsigned mask = writable_[at];
    bytes_[at] = static_cast<std::uint8_t>((bytes_[at] & ~mask) |
                                           (std::to_integer<unsigned>(data[i]) & mask));
  }
}

}  // namespace bellhop
