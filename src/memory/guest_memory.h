#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "memory/guest_address.h"
#include "memory/guest_span.h"

namespace bellhop {

/// What guest RAM is made of.
enum class MemoryBacking {
  /// The process's own. The host puts huge pages under it where it has them to spare (transparent
  /// huge pages), which most hosts do for no other kind.
  kPrivate,
  /// A memfd, which another process can map as well. Its size is sealed.
  kShared,
  /// The same, of huge pages that were set aside (/proc/sys/vm/nr_hugepages).
  kHugePages,
};

/// The map of guest RAM: regions in ascending order with holes between them. Immutable once built,
/// hence free to share between threads.
class GuestMemory {
 public:
  struct RegionSpec {
    GuestAddress base;
    std::uint64_t size = 0;  ///< bytes, a multiple of 4096 (of 2 MiB with kHugePages)
  };
  struct Region {
    GuestAddress base;
    std::uint64_t size = 0;
    std::byte* host = nullptr;      ///< where it is mapped in this process
    std::uint64_t file_offset = 0;  ///< sizes of the regions before it: where it begins in fd()
  };

  /// Reserves and maps the regions; pages are taken from the host when they are first touched.
  /// Errors: overlapping, empty or unaligned regions, host memory or huge pages missing.
  static Result<GuestMemory> create(std::span<const RegionSpec> regions,
                                    MemoryBacking backing = MemoryBacking::kPrivate);

  GuestMemory(GuestMemory&&) noexcept;
  GuestMemory& operator=(GuestMemory&&) noexcept;
  ~GuestMemory();

  /// `length` bytes at `address`, if they lie within one region; nothing if they touch a hole, wrap
  /// or straddle two regions. A length of 0 gives an empty span at any address.
  [[nodiscard]] std::optional<GuestSpan> span(GuestAddress address,
                                              std::uint64_t length) const noexcept {
    if (length == 0) return GuestSpan();
    for (const Region& region : regions_) {
      // Unsigned wrap-around makes addresses below the base huge, hence outside.
      const std::uint64_t offset = address.value() - region.base.value();
      if (offset < region.size) {
        if (length > region.size - offset) return std::nullopt;
        return GuestSpan(region.host + offset, length);
      }
    }
    return std::nullopt;
  }

  /// Copies between the host and guest RAM within one region. False if out of bounds.
  [[nodiscard]] bool write(GuestAddress address, std::span<const std::byte> bytes) const noexcept;
  [[nodiscard]] bool read(GuestAddress address, std::span<std::byte> bytes) const noexcept;

  /// Gives all pages back to the host: everything reads zero, as after power-on.
  void clear() const noexcept;
  /// Gives the host the pages that lie wholly within `span`, which must be of this memory: they
  /// read zero from now on, and are taken from the host anew when they are next touched. Returns
  /// how many bytes that was; nothing if the host refused.
  [[nodiscard]] std::optional<std::uint64_t> release(const GuestSpan& span) const noexcept;
  /// Size of the pages in which the host takes memory back.
  [[nodiscard]] std::uint64_t page_bytes() const noexcept { return page_bytes_; }

  [[nodiscard]] std::span<const Region> regions() const noexcept { return regions_; }
  [[nodiscard]] std::uint64_t total_size() const noexcept;
  /// The memfd; invalid with kPrivate.
  [[nodiscard]] const UniqueFd& fd() const noexcept { return fd_; }

 private:
  GuestMemory() = default;
  Status open_file(std::uint64_t size, bool huge);
  Status map(const RegionSpec& spec, std::uint64_t offset);
  bool give_back(const Region& region, std::uint64_t begin, std::uint64_t end) const noexcept;
  void unmap() noexcept;

  UniqueFd fd_;
  std::uint64_t page_bytes_ = 0;
  std::vector<Region> regions_;
};

}  // namespace bellhop
