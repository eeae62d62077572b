#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "memory/fault_guard.h"
#include "memory/guest_memory.h"
#include "transport/vhost_user/command.h"

namespace bellhop {

/// A vhost-user front end's memory, as it was told last: the regions, mapped and guarded against a
/// peer that cuts their files short, and where their bytes are in the front end's own address
/// space, by which it names its rings.
///
/// One thread, and nobody touches the memory while it changes.
class PeerMemory {
 public:
  /// GET_MAX_MEM_SLOTS.
  static constexpr std::size_t kMaxRegions = 64;

  /// `faulted` is signalled when a page is not there any more, and outlives this.
  explicit PeerMemory(const EventFd& faulted) noexcept : faulted_(faulted) {}

  // Errors of all three (the peer's fault, or the host has no memory map left): what was there
  // stays.

  /// All of it anew. Errors: no region or too many; one that is empty or not of whole pages, wraps,
  /// overlaps another in the guest's or the front end's addresses, does not lie in its file; a file
  /// that is on neither tmpfs nor hugetlbfs (a memfd is on one of them), or cannot be written.
  Status set(std::vector<vhost_user::GivenMemory> memory);
  /// One more region. Errors: as set().
  Status add(vhost_user::GivenMemory memory);
  /// Without the region of these addresses and this size. Errors: there is none.
  Status remove(const vhost_user::MemoryRegion& region);
  void clear() noexcept;

  /// Null: there is no memory.
  [[nodiscard]] const GuestMemory* memory() const noexcept {
    return mapped_ ? &mapped_->memory : nullptr;
  }
  /// The guest's address of an address of the front end's; nothing if it lies in no region.
  [[nodiscard]] std::optional<GuestAddress> guest_address(std::uint64_t user) const noexcept;

 private:
  struct Mapped {
    GuestMemory memory;
    std::vector<FaultGuard> guards;
  };

  Result<Mapped> map(std::span<const vhost_user::GivenMemory> regions) const;

  const EventFd& faulted_;
  std::vector<vhost_user::GivenMemory> regions_;
  std::optional<Mapped> mapped_;
};

}  // namespace bellhop
