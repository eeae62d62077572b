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
  /// The same, of huge pages that were set aside (vm.nr_hugepages): all of them from the start and
  /// until the end, since one that the host has given to others is a SIGBUS when it is next
  /// touched.
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
    int fd = -1;                    ///< of the file that it is a part of, the memory's own; or -1
    std::uint64_t file_offset = 0;  ///< where it begins in that file
  };
  /// A region of another process's file, as a vhost-user front end sends it.
  struct GivenRegion {
    RegionSpec spec;
    UniqueFd file;             ///< a memfd, or a file of tmpfs or hugetlbfs
    std::uint64_t offset = 0;  ///< where the region begins in the file, a multiple of 4096
  };

  /// Reserves and maps the regions; pages are taken from the host when they are first touched, huge
  /// ones at once. Errors: overlapping, empty or unaligned regions, host memory or huge pages
  /// missing.
  static Result<GuestMemory> create(std::span<const RegionSpec> regions,
                                    MemoryBacking backing = MemoryBacking::kPrivate);
  /// Maps regions of other processes' files. Errors: as create(), and a file that ends before its
  /// region does. Who gave a file that is not sealed against shrinking can still cut it short, and
  /// our next access would be a SIGBUS.
  static Result<GuestMemory> map(std::vector<GivenRegion> regions);

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

  /// Everything reads zero, as after power-on. Pages go back to the host, but for huge ones of a
  /// file: another process could take them, and our next touch would be a SIGBUS.
  void clear() const noexcept;
  /// Gives the host the pages that lie wholly within `span`, which must be of this memory: they
  /// read zero from now on, and are taken from the host anew when they are next touched. Returns
  /// how many bytes that was, 0 with huge pages of a file; nothing if the host refused.
  [[nodiscard]] std::optional<std::uint64_t> release(const GuestSpan& span) const noexcept;

  /// Where `span`, which must be of this memory, begins.
  [[nodiscard]] GuestAddress address_of(const GuestSpan& span) const noexcept;

  [[nodiscard]] std::span<const Region> regions() const noexcept { return regions_; }
  [[nodiscard]] std::uint64_t total_size() const noexcept;
  /// Whether another process can map all of it.
  [[nodiscard]] bool shared() const noexcept;

 private:
  /// What a region is mapped by: its file's pages, which may begin before it.
  struct Mapping {
    std::byte* begin = nullptr;
    std::uint64_t size = 0;
  };

  GuestMemory() = default;
  /// Maps a region of `fd`, whose pages have `page` bytes, or of no file if it is -1.
  Status add(const RegionSpec& spec, int fd, std::uint64_t offset, std::uint64_t page);
  static bool give_back(const Region& region, std::uint64_t begin, std::uint64_t end) noexcept;
  void unmap() noexcept;

  std::vector<UniqueFd> files_;
  bool keeps_pages_ = false;  ///< no page goes back to the host
  std::vector<Region> regions_;
  std::vector<Mapping> mappings_;  // of the regions, in their order
};

}  // namespace bellhop
