#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace bellhop {

/// Builds small ELF kernels, right or wrong, for tests of the loader.
class ElfBuilder {
 public:
  enum class Class : std::uint8_t { k32, k64 };
  struct Segment {
    std::uint32_t type = 1;  ///< PT_LOAD
    std::uint64_t address = 0;
    std::vector<std::byte> bytes;
    std::uint64_t memory_size = 0;  ///< 0: as many as there are bytes
  };

  explicit ElfBuilder(Class width = Class::k64) : width_(width) {}

  ElfBuilder& load(std::uint64_t address, std::span<const std::uint8_t> bytes,
                   std::uint64_t memory_size = 0);
  /// A PT_NOTE segment with the PVH entry, behind another note.
  ElfBuilder& pvh_note(std::uint64_t entry);
  ElfBuilder& segment(Segment segment);

  /// Headers, then the segments' bytes in the order they were added.
  [[nodiscard]] std::vector<std::byte> build() const;

  /// A kernel of a few instructions at 1 MiB with its entry there.
  static std::vector<std::byte> tiny_kernel(Class width = Class::k64);

 private:
  Class width_;
  std::vector<Segment> segments_;
};

}  // namespace bellhop
