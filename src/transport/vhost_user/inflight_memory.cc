#include "transport/vhost_user/inflight_memory.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "transport/vhost_user/peer_file.h"
#include "virtio/abi/ring.h"

namespace bellhop {

using vhost_user::InflightDescription;

namespace {

constexpr std::uint64_t kSmallPage = 4096;

Status check_counts(const InflightDescription& region, unsigned rings) {
  if (region.num_queues == 0 || region.num_queues > rings) {
    return fail(fmt::format("{} queues, not 1 to {}", region.num_queues, rings));
  }
  if (region.queue_size == 0 || region.queue_size > virtio::kMaxQueueSize) {
    return fail(fmt::format("queues of {} entries, not of 1 to {}", region.queue_size,
                            virtio::kMaxQueueSize));
  }
  return {};
}

std::uint64_t bytes_of(const InflightDescription& region, bool packed) {
  return region.num_queues * inflight_queue_bytes(packed, region.queue_size);
}

std::uint64_t whole_pages(std::uint64_t bytes, std::uint64_t page) {
  return (bytes + page - 1) / page * page;
}

}  // namespace

Result<InflightMemory::Made> InflightMemory::make(const InflightDescription& wanted,
                                                  unsigned rings) {
  if (auto right = check_counts(wanted, rings); !right) return forward(right);
  Made made{wanted, UniqueFd(::memfd_create("bellhop-inflight", MFD_CLOEXEC | MFD_ALLOW_SEALING))};
  made.region.mmap_offset = 0;
  made.region.padding = 0;
  made.region.mmap_size = whole_pages(bytes_of(wanted, true), kSmallPage);
  if (!made.file.valid() ||
      ::ftruncate(made.file.get(), static_cast<off_t>(made.region.mmap_size)) != 0 ||
      ::fcntl(made.file.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
    return fail_errno("no memory to note requests in flight");
  }
  return made;
}

Result<InflightMemory> InflightMemory::map(const InflightDescription& region, const UniqueFd& file,
                                           unsigned rings, const EventFd& faulted) {
  if (auto right = check_counts(region, rings); !right) return forward(right);
  const auto page = page_of_peer_file(file);
  if (!page) return forward(page);
  struct stat info {};
  if (::fstat(file.get(), &info) != 0) return fail_errno("cannot look at the region's file");
  const auto bytes = static_cast<std::uint64_t>(info.st_size);
  if (region.mmap_offset % *page != 0 || region.mmap_offset > bytes ||
      region.mmap_size > bytes - region.mmap_offset || region.mmap_size < bytes_of(region, false)) {
    return fail(fmt::format("{} bytes at {:#x} of a file that has {}, for {} queues of {} entries",
                            region.mmap_size, region.mmap_offset, bytes, region.num_queues,
                            region.queue_size));
  }
  // No more than can be needed, however large the file is.
  InflightDescription used = region;
  used.mmap_size = std::min(region.mmap_size, bytes_of(region, true));
  const std::uint64_t mapped = whole_pages(used.mmap_size, *page);
  void* const begin = ::mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_SHARED, file.get(),
                             static_cast<off_t>(region.mmap_offset));
  if (begin == MAP_FAILED) return fail_errno("cannot map the region's file");
  InflightMemory memory(used, static_cast<std::byte*>(begin), mapped);
  auto guard = FaultGuard::guard(memory.begin_, mapped, *page, faulted);
  if (!guard) return forward(guard);
  memory.guard_.emplace(std::move(*guard));
  return memory;
}

InflightMemory::~InflightMemory() {
  guard_.reset();  // before its memory
  if (begin_ != nullptr) ::munmap(begin_, mapped_);
}

void InflightMemory::forget() const noexcept { std::memset(begin_, 0, region_.mmap_size); }

Result<std::optional<InflightQueue>> InflightMemory::queue(unsigned index, bool packed) const {
  if (index >= region_.num_queues) return std::optional<InflightQueue>();
  if (bytes_of(region_, packed) > region_.mmap_size) {
    return fail(
        fmt::format("the region of requests in flight has {} bytes: too few for {} packed "
                    "rings of {}",
                    region_.mmap_size, region_.num_queues, region_.queue_size));
  }
  const std::uint64_t bytes = inflight_queue_bytes(packed, region_.queue_size);
  return std::optional<InflightQueue>(
      {.bytes = GuestSpan(begin_ + index * bytes, bytes), .entries = region_.queue_size});
}

}  // namespace bellhop
