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

}  // namespace

Result<GuestMemory> GuestMemory::create(std::span<const RegionSpec> specs, PageSize pages) {
  const bool huge = pages == PageSize::kHuge;
  if (auto good = check_regions(specs, huge ? kHugePage : kPage); !good) return forward(good);

  GuestMemory memory;
  memory.page_bytes_ = huge ? kHugePage : kPage;
  memory.fd_ = UniqueFd(::memfd_create("bellhop-guest", MFD_CLOEXEC | (huge ? MFD_HUGETLB : 0u)));
  if (!memory.fd_.valid()) return fail_errno("cannot create guest memory");
  std::uint64_t total = 0;
  for (const auto& spec : specs) total += spec.size;
  if (::ftruncate(memory.fd_.get(), static_cast<off_t>(total)) != 0) {
    return fail_errno(fmt::format("cannot reserve {} bytes of guest memory", total));
  }
  std::uint64_t offset = 0;
  for (const auto& spec : specs) {
    void* host = ::mmap(nullptr, spec.size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE,
                        memory.fd_.get(), static_cast<off_t>(offset));
    if (host == MAP_FAILED) {
      return fail_errno(fmt::format("cannot map {} bytes of guest memory{}", spec.size,
                                    huge ? " in huge pages (see /proc/sys/vm/nr_hugepages)" : ""));
    }
    memory.regions_.push_back({spec.base, spec.size, static_cast<std::byte*>(host), offset});
    offset += spec.size;
  }
  return memory;
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

void GuestMemory::clear() const noexcept {
  const auto size = static_cast<off_t>(total_size());
  if (::fallocate(fd_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, size) == 0) return;
  for (const Region& region : regions_) std::memset(region.host, 0, region.size);
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
    if (::fallocate(fd_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                    static_cast<off_t>(region.file_offset + begin),
                    static_cast<off_t>(end - begin)) != 0) {
      return std::nullopt;
    }
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
