#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace bellhop {

/// The configuration space of one PCI function: 256 bytes and which bits of them the guest may
/// write (PCI 3.0, 6.1). What lies beyond, in PCI Express' 4 KiB, reads 0: no extended
/// capabilities. Plain bytes; the function that owns it takes the lock.
class PciConfigSpace {
 public:
  static constexpr std::uint32_t kBytes = 256;
  static constexpr std::uint32_t kExpressBytes = 4096;

  /// Sets a field of `bytes` (1 to 8) bytes, and which bits of it the guest may change.
  void define(std::uint32_t offset, unsigned bytes, std::uint64_t value,
              std::uint64_t writable = 0) noexcept;
  void set(std::uint32_t offset, unsigned bytes, std::uint64_t value) noexcept;
  [[nodiscard]] std::uint64_t get(std::uint32_t offset, unsigned bytes) const noexcept;

  /// Appends a capability and links it in; bytes 0 (id) and from 2 on are taken from `body`.
  /// Returns its offset. There must be room: capabilities are known when the function is made.
  std::uint8_t add_capability(std::span<const std::byte> body) noexcept;

  /// The guest's accesses; any offset and width.
  void read(std::uint32_t offset, std::span<std::byte> data) const noexcept;
  void write(std::uint32_t offset, std::span<const std::byte> data) noexcept;

 private:
  std::array<std::uint8_t, kBytes> bytes_{};
  std::array<std::uint8_t, kBytes> writable_{};
  std::uint32_t next_capability_ = 0x40;
  std::uint8_t link_ = 0;  ///< where the last capability's offset is written
};

}  // namespace bellhop
