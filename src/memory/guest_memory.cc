#include "memory/guest_memory.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <algorithm>
#include <bit>
#include <cassert>
#include <utility>

#include "memory/huge_pages.h"

namespace bellhop {

namespace {

constexpr std::uint64_t kPage = 4096;

Status check_regions(std::span<const GuestMemory::RegionSpec> specs, std::uint64_t page) {
  if (specs.empty()) return fail("guest memory has no region");
  std::uint64_t end = 0;
  for (const auto& spec : specs) {
    const std::uint64_t base = spec.base.value();
    if (spec.size == 0 || spec.size % page != 0 || base % page != 0) {
      return fail(fmt::format("guest memory of {} bytes at {:#x} is not a multiple of {} bytes",
                              spec.size, base, page));
    }
    if (base < end || base + spec.size < base) {
      return fail(fmt::format("guest memory at {:#x} overlaps another region", base));
    }
    end = base + spec.size;
  }
  return {};
}

/// Address space for `size` bytes that lies within its huge page as `like` does: only if guest and
/// host agree in that can one page table entry map 2 MiB of both.
std::byte* reserve(std::uint64_t like, std::uint64_t size) noexcept {
  const std::uint64_t room = size + kHugePage;
  void* const got =
      ::mmap(nullptr, room, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (got == MAP_FAILED) return nullptr;
  auto* const begin = static_cast<std::byte*>(got);
  const std::uint64_t before = (like - reinterpret_cast<std::uintptr_t>(begin)) % kHugePage;
  if (before != 0) ::munmap(begin, before);
  ::munmap(begin + before + size, kHugePage - before);
  return begin + before;
}

/// A memfd of `size` bytes whose pages come when they are touched.
Result<UniqueFd> make_small_file(std::uint64_t size) {
  UniqueFd file(::memfd_create("bellhop-guest", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!file.valid()) return fail_errno("cannot create guest memory");
  if (::ftruncate(file.get(), static_cast<off_t>(size)) != 0) {
    return fail_errno(fmt::format("cannot reserve {} bytes of guest memory", size));
  }
  return file;
}

/// A memfd of `size` bytes that keeps that size.
Result<UniqueFd> make_file(std::uint64_t size, bool huge) {
  auto file = huge ? make_huge_file(size) : make_small_file(size);
  if (!file) return file;
  // Whoever gets the descriptor could cut the file short, and we would get SIGBUS; or forbid what
  // we are about to do. Its pages it may take: they read zero then.
  if (::fcntl(file->get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
    return fail_errno("cannot seal guest memory");
  }
  return file;
}

/// How large the pages of a given file are, if the region lies within it.
Result<std::uint64_t> page_of(const GuestMemory::GivenRegion& region) {
  struct stat file {};
  struct statfs system {};
  if (::fstat(region.file.get(), &file) != 0 || ::fstatfs(region.file.get(), &system) != 0) {
    return fail_errno("cannot look at a file of guest memory");
  }
  const auto bytes = static_cast<std::uint64_t>(file.st_size);
  if (region.offset % kPage != 0 || region.offset > bytes ||
      region.spec.size > bytes - region.offset) {
    return fail(fmt::format("guest memory of {} bytes at {:#x} of a file that has {}",
                            region.spec.size, region.offset, bytes));
  }
  return system.f_type == HUGETLBFS_MAGIC ? static_cast<std::uint64_t>(system.f_bsize) : kPage;
}

}  // namespace

Result<GuestMemory> GuestMemory::create(std::span<const RegionSpec> specs, MemoryBacking backing) {
  const std::uint64_t page = backing == MemoryBacking::kHugePages ? kHugePage : kPage;
  if (auto good = check_regions(specs, page); !good) return forward(good);

  GuestMemory memory;
  int fd = -1;
  if (backing != MemoryBacking::kPrivate) {
    std::uint64_t total = 0;
    for (const auto& spec : specs) total += spec.size;
    auto file = make_file(total, backing == MemoryBacking::kHugePages);
    if (!file) return forward(file);
    fd = file->get();
    memory.files_.push_back(std::move(*file));
  }
  std::uint64_t offset = 0;
  for (const auto& spec : specs) {
    if (auto added = memory.add(spec, fd, offset, page); !added) return forward(added);
    offset += spec.size;
  }
  return memory;
}

Result<GuestMemory> GuestMemory::map(std::vector<GivenRegion> regions) {
  std::vector<RegionSpec> specs;
  specs.reserve(regions.size());
  for (const auto& region : regions) specs.push_back(region.spec);
  if (auto good = check_regions(specs, kPage); !good) return forward(good);

  GuestMemory memory;
  for (auto& region : regions) {
    const auto page = page_of(region);
    if (!page) return forward(page);
    if (auto added = memory.add(region.spec, region.file.get(), region.offset, *page); !added) {
      return forward(added);
    }
    memory.files_.push_back(std::move(region.file));
  }
  return memory;
}

Status GuestMemory::add(const RegionSpec& spec, int fd, std::uint64_t offset, std::uint64_t page) {
  // A file is mapped by its own pages, which may be huge and begin before the region.
  const std::uint64_t before = offset % page;
  const std::uint64_t size = (before + spec.size + page - 1) / page * page;
  std::byte* const begin = reserve(page == kPage ? spec.base.value() - before : 0, size);
  const int kind = fd >= 0 ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS;
  if (begin == nullptr ||
      ::mmap(begin, size, PROT_READ | PROT_WRITE, kind | MAP_FIXED | MAP_NORESERVE, fd,
             fd >= 0 ? static_cast<off_t>(offset - before) : 0) == MAP_FAILED) {
    Status failed = fail_errno(fmt::format("cannot map {} bytes of guest memory{}", spec.size,
                                           page == kPage ? "" : " in huge pages"));
    if (begin != nullptr) ::munmap(begin, size);
    return failed;
  }
  (void)::madvise(begin, size, MADV_HUGEPAGE);  // a hint: small pages do as well
  regions_.push_back({spec.base, spec.size, begin + before, fd, offset});
  mappings_.push_back({begin, size});
  keeps_pages_ = keeps_pages_ || page != kPage;
  return {};
}

GuestMemory::GuestMemory(GuestMemory&& other) noexcept
    : files_(std::exchange(other.files_, {})),
      keeps_pages_(other.keeps_pages_),
      regions_(std::exchange(other.regions_, {})),
      mappings_(std::exchange(other.mappings_, {})) {}

GuestMemory& GuestMemory::operator=(GuestMemory&& other) noexcept {
  if (this != &other) {
    unmap();
    files_ = std::exchange(other.files_, {});
    keeps_pages_ = other.keeps_pages_;
    regions_ = std::exchange(other.regions_, {});
    mappings_ = std::exchange(other.mappings_, {});
  }
  return *this;
}

GuestMemory::~GuestMemory() { unmap(); }

void GuestMemory::unmap() noexcept {
  for (const Mapping& mapping : mappings_) ::munmap(mapping.begin, mapping.size);
  mappings_.clear();
  regions_.clear();
}

bool GuestMemory::shared() const noexcept {
  return std::ranges::none_of(regions_, [](const Region& region) { return region.fd < 0; });
}

bool GuestMemory::write(GuestAddress address, std::span<const std::byte> bytes) const noexcept {
  const auto target = span(address, bytes.size());
  if (!target) return false;
  target->copy_in(bytes);
  return true;
}

bool GuestMemory::read(GuestAddress address, std::span<std::byte> bytes) const noexcept {
  const auto source = span(address, bytes.size());
  if (!source) return false;
  source->copy_out(bytes);
  return true;
}

/// The host gets `begin` to `end` of a region, in whole pages of its own.
bool GuestMemory::give_back(const Region& region, std::uint64_t begin, std::uint64_t end) noexcept {
  if (region.fd < 0) return ::madvise(region.host + begin, end - begin, MADV_DONTNEED) == 0;
  return ::fallocate(region.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                     static_cast<off_t>(region.file_offset + begin),
                     static_cast<off_t>(end - begin)) == 0;
}

void GuestMemory::clear() const noexcept {
  for (const Region& region : regions_) {
    if (keeps_pages_ || !give_back(region, 0, region.size)) {
      std::memset(region.host, 0, region.size);
    }
  }
}

std::optional<std::uint64_t> GuestMemory::release(const GuestSpan& span) const noexcept {
  if (keeps_pages_) return 0;
  const auto* const host = static_cast<const std::byte*>(span.as_iovec().iov_base);
  for (const Region& region : regions_) {
    if (host < region.host || host >= region.host + region.size) continue;
    const auto offset = static_cast<std::uint64_t>(host - region.host);
    const std::uint64_t begin = (offset + kPage - 1) / kPage * kPage;
    const std::uint64_t end =
        (offset + std::min<std::uint64_t>(span.size(), region.size - offset)) / kPage * kPage;
    if (begin >= end) return 0;
    if (!give_back(region, begin, end)) return std::nullopt;
    return end - begin;
  }
  return 0;
}

GuestAddress GuestMemory::address_of(const GuestSpan& span) const noexcept {
  const auto at = std::bit_cast<std::uintptr_t>(span.as_iovec().iov_base);
  for (const Region& region : regions_) {
    // Unsigned wrap-around makes addresses below the region huge, hence outside.
    const std::uint64_t offset = at - std::bit_cast<std::uintptr_t>(region.host);
    if (offset < region.size) return GuestAddress(region.base.value() + offset);
  }
  assert(false && "a span of other memory");
  return {};
}

std::uint64_t GuestMemory::total_size() const noexcept {
  std::uint64_t sum = 0;
  for (const Region& region : regions_) sum += region.size;
  return sum;
}

}  // namespace bellhop
