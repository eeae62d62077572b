#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <utility>
#include <vector>

namespace bellhop {

/// A table with ACPI's common header (ACPI 6.5, 5.2.6) that grows at its end, little-endian.
class AcpiTable {
 public:
  AcpiTable(std::string_view signature, std::uint8_t revision) {
    text(signature, 4);
    put<std::uint32_t>(0);  // length, by finish()
    put(revision);
    put<std::uint8_t>(0);  // checksum, by finish()
    text("BELHOP", 6);
    text("BELLHOP ", 8);
    put<std::uint32_t>(1);
    text("BELL", 4);
    put<std::uint32_t>(1);
  }

  template <class T>
  void put(T value) {
    const std::size_t at = bytes_.size();
    bytes_.resize(at + sizeof value);
    std::memcpy(bytes_.data() + at, &value, sizeof value);
  }
  /// The first `width` of the characters; there must be that many.
  void text(std::string_view characters, std::size_t width) {
    for (std::size_t i = 0; i < width; ++i) put(characters[i]);
  }
  void zeroes(std::size_t count) { bytes_.resize(bytes_.size() + count); }
  /// A generic address structure (5.2.3.2) of an I/O port of 8, 16 or 32 bits.
  void port(std::uint64_t address, std::uint8_t bits) {
    put<std::uint8_t>(1);  // system I/O
    put(bits);
    put<std::uint8_t>(0);
    put<std::uint8_t>(bits == 8 ? 1 : bits == 16 ? 2 : 3);  // access size
    put(address);
  }

  std::vector<std::byte> finish() && {
    const auto length = static_cast<std::uint32_t>(bytes_.size());
    std::memcpy(bytes_.data() + 4, &length, sizeof length);
    set_checksum(bytes_, 9, bytes_.size());
    return std::move(bytes_);
  }

  /// Makes the first `count` bytes sum up to 0 by the one at `at`.
  static void set_checksum(std::vector<std::byte>& bytes, std::size_t at, std::size_t count) {
    bytes[at] = std::byte{0};
    unsigned sum = 0;
    for (std::size_t i = 0; i < count; ++i) sum += std::to_integer<unsigned>(bytes[i]);
    bytes[at] = static_cast<std::byte>(0U - sum);
  }

 private:
  std::vector<std::byte> bytes_;
};

}  // namespace bellhop
