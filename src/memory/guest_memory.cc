#include "memory/guest_memory.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>

#include <algorithm>
#include <utility>

namespace bellhop {

namespace {

constexpr std::uint64_t kPage = 4096;
constexpr std::uint64_t kHugePage = std::uint64_t{2} << 20;

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

/// Address space for `size` bytes that lies within its huge page as `base` does in the guest's:
/// only then can one page table entry map 2 MiB of both.
std::byte* reserve(GuestAddress base, std::uint64_t size) noexcept {
  const std::uint64_t room = size + kHugePage;
  void* const got =
      ::mmap(nullptr, room, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (got == MAP_FAILED) return nullptr;
  auto* const begin = static_cast<std::byte*>(got);
  const std::uint64_t before = (base.value() - reinterpret_cast<std::uintptr_t>(begin)) % kHugePage;
  if (before != 0) ::munmap(begin, before);
  ::munmap(begin + before + size, kHugePage - before);
  return begin + before;
}

}  // namespace

Result<GuestMemory> GuestMemory::create(std::span<const RegionSpec> specs, MemoryBacking backing) {
  const bool huge = backing == MemoryBacking::kHugePages;
  if (auto good = check_regions(specs, huge ? kHugePage : kPage); !good) return forward(good);

  GuestMemory memory;
  memory.page_bytes_ = huge ? kHugePage : kPage;
  std::uint64_t total = 0;
  for (const auto& spec : specs) total += spec.size;
  if (backing != MemoryBacking::kPrivate) {
    if (auto opened = memory.open_file(total, huge); !opened) return forward(opened);
  }
  std::uint64_t offset = 0;
  for (const auto& spec : specs) {
    if (auto mapped = memory.map(spec, offset); !mapped) return forward(mapped);
    offset += spec.size;
  }
  return memory;
}

Status GuestMemory::open_file(std::uint64_t size, bool huge) {
  fd_ = UniqueFd(
      ::memfd_create("bellhop-guest", MFD_CLOEXEC | MFD_ALLOW_SEALING | (huge ? MFD_HUGETLB : 0u)));
  if (!fd_.valid()) return fail_errno("cannot create guest memory");
  if (::ftruncate(fd_.get(), static_cast<off_t>(size)) != 0) {
    return fail_errno(fmt::format("cannot reserve {} bytes of guest memory", size));
  }
  // Whoever gets the descriptor could cut the file short, and we would get SIGBUS; or forbid what
  // we are about to do. Its pages it may take: they read zero then.
  if (::fcntl(fd_.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
    return fail_errno("cannot seal guest memory");
  }
  return {};
}

Status GuestMemory::map(const RegionSpec& spec, std::uint64_t offset) {
  std::byte* const place = reserve(spec.base, spec.size);
  const int kind = fd_.valid() ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS;
  if (place == nullptr ||
      ::mmap(place, spec.size, PROT_READ | PROT_WRITE, kind | MAP_FIXED | MAP_NORESERVE, fd_.get(),
             static_cast<off_t>(offset)) == MAP_FAILED) {
    Status failed = fail_errno(fmt::format(
        "cannot map {} bytes of guest memory{}", spec.size,
        page_bytes_ == kHugePage ? " in huge pages (see /proc/sys/vm/nr_hugepages)" : ""));
    if (place != nullptr) ::munmap(place, spec.size);
    return failed;
  }
  regions_.push_back({spec.base, spec.size, place, offset});
  (void)::madvise(place, spec.size, MADV_HUGEPAGE);  // a hint: small pages do as well
  return {};
}

GuestMemory::GuestMemory(GuestMemory&& other) noexcept
    : fd_(std::move(other.fd_)),
      page_bytes_(other.page_bytes_),
      regions_(std::exchange(other.regions_, {})) {}

GuestMemory& GuestMemory::operator=(GuestMemory&& other) noexcept {
  if (this != &other) {
    unmap();
    fd_ = std::move(other.fd_);
    page_bytes_ = other.page_bytes_;
    regions_ = std::exchange(other.regions_, {});
  }
  return *this;
}

GuestMemory::~GuestMemory() { unmap(); }

void GuestMemory::unmap() noexcept {
  for (const Region& region : regions_) ::munmap(region.host, region.size);
  regions_.clear();
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
bool GuestMemory::give_back(const Region& region, std::uint64_t begin,
                            std::uint64_t end) const noexcept {
  if (!fd_.valid()) return ::madvise(region.host + begin, end - begin, MADV_DONTNEED) == 0;
  return ::fallocate(fd_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                     static_cast<off_t>(region.file_offset + begin),
                     static_cast<off_t>(end - begin)) == 0;
}

void GuestMemory::clear() const noexcept {
  for (const Region& region : regions_) {
    if (!give_back(region, 0, region.size)) std::memset(region.host, 0, region.size);
  }
}

std::optional<std::uint64_t> GuestMemory::release(const GuestSpan& span) const noexcept {
  const auto* const host = static_cast<const std::byte*>(span.as_iovec().iov_base);
  for (const Region& region : regions_) {
    if (host < region.host || host >= region.host + region.size) continue;
    const auto offset = static_cast<std::uint64_t>(host - region.host);
    // Regions begin at the beginning of a page, in guest memory and in the file.
    const std::uint64_t begin = (offset + page_bytes_ - 1) / page_bytes_ * page_bytes_;
    const std::uint64_t end =
        (offset + std::min<std::uint64_t>(span.size(), region.size - offset)) / page_bytes_ *
        page_bytes_;
    if (begin >= end) return 0;
    if (!give_back(region, begin, end)) return std::nullopt;
    return end - begin;
  }
  return 0;
}

std::uint64_t GuestMemory::total_size() const noexcept {
  std::uint64_t sum = 0;
  for (const Region& region : regions_) sum += region.size;
  return sum;
}

}  // namespace bellhop
