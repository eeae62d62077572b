#include "transport/vhost_user/peer_memory.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <utility>

#include "transport/vhost_user/peer_file.h"

namespace bellhop {

using vhost_user::GivenMemory;
using vhost_user::MemoryRegion;

namespace {

bool same(const MemoryRegion& a, const MemoryRegion& b) noexcept {
  return a.guest_address == b.guest_address && a.user_address == b.user_address && a.size == b.size;
}

/// Of the front end's own addresses; the guest's are for GuestMemory to judge.
Status check_user_addresses(std::span<const GivenMemory> regions) {
  for (const GivenMemory& one : regions) {
    const MemoryRegion& a = one.region;
    if (a.user_address + a.size < a.user_address) {
      return fail(fmt::format("the region at {:#x} wraps around", a.user_address));
    }
    for (const GivenMemory& other : regions) {
      const MemoryRegion& b = other.region;
      if (&one != &other && a.user_address < b.user_address + b.size &&
          b.user_address < a.user_address + a.size) {
        return fail(
            fmt::format("the regions at {:#x} and {:#x} overlap", a.user_address, b.user_address));
      }
    }
  }
  return {};
}

}  // namespace

Status PeerMemory::set(std::vector<GivenMemory> memory) {
  auto mapped = map(memory);
  if (!mapped) return forward(mapped);
  regions_ = std::move(memory);
  mapped_.emplace(std::move(*mapped));  // the old guards end before their memory
  return {};
}

Status PeerMemory::add(GivenMemory memory) {
  regions_.push_back(std::move(memory));
  auto mapped = map(regions_);
  if (!mapped) {
    regions_.pop_back();
    return forward(mapped);
  }
  mapped_.emplace(std::move(*mapped));  // the old guards end before their memory
  return {};
}

Status PeerMemory::remove(const MemoryRegion& region) {
  const auto found = std::ranges::find_if(
      regions_, [&](const GivenMemory& one) { return same(one.region, region); });
  if (found == regions_.end()) return fail("there is no such region");
  if (regions_.size() == 1) {
    clear();
    return {};
  }
  GivenMemory removed = std::move(*found);
  regions_.erase(found);
  auto mapped = map(regions_);
  if (!mapped) {
    regions_.push_back(std::move(removed));
    return forward(mapped);
  }
  mapped_.emplace(std::move(*mapped));  // the old guards end before their memory
  return {};
}

void PeerMemory::clear() noexcept {
  mapped_.reset();
  regions_.clear();
}

Result<PeerMemory::Mapped> PeerMemory::map(std::span<const GivenMemory> regions) const {
  if (regions.empty() || regions.size() > kMaxRegions) {
    return fail(fmt::format("{} regions, not 1 to {}", regions.size(), kMaxRegions));
  }
  if (auto good = check_user_addresses(regions); !good) return forward(good);
  std::vector<const GivenMemory*> ordered;
  ordered.reserve(regions.size());
  for (const GivenMemory& one : regions) ordered.push_back(&one);
  std::ranges::sort(ordered, {}, [](const auto* one) { return one->region.guest_address; });
  std::vector<GuestMemory::GivenRegion> given;
  given.reserve(regions.size());
  std::vector<std::uint64_t> pages;
  pages.reserve(regions.size());
  for (const GivenMemory* one : ordered) {
    const auto page = page_of_peer_file(one->file);
    if (!page) return forward(page);
    pages.push_back(*page);
    UniqueFd file(::fcntl(one->file.get(), F_DUPFD_CLOEXEC, 0));
    if (!file.valid()) return fail_errno("no descriptor for a region");
    given.push_back({.spec = {GuestAddress(one->region.guest_address), one->region.size},
                     .file = std::move(file),
                     .offset = one->region.mmap_offset});
  }
  auto memory = GuestMemory::map(std::move(given));
  if (!memory) return forward(memory);
  Mapped mapped{std::move(*memory), {}};
  for (std::size_t i = 0; i < pages.size(); ++i) {
    const GuestMemory::Region& region = mapped.memory.regions()[i];
    // A region may begin or end within a huge page.
    const std::uint64_t before = std::bit_cast<std::uintptr_t>(region.host) % pages[i];
    const std::uint64_t size = (before + region.size + pages[i] - 1) / pages[i] * pages[i];
    auto guard = FaultGuard::guard(region.host - before, size, pages[i], faulted_);
    if (!guard) return forward(guard);
    mapped.guards.push_back(std::move(*guard));
  }
  return mapped;
}

std::optional<GuestAddress> PeerMemory::guest_address(std::uint64_t user) const noexcept {
  for (const GivenMemory& one : regions_) {
    const std::uint64_t offset = user - one.region.user_address;
    if (offset < one.region.size) return GuestAddress(one.region.guest_address + offset);
  }
  return std::nullopt;
}

}  // namespace bellhop
