#include "transport/vhost_user/inflight_memory.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>

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

}  // namespace

Result<InflightMemory::Made> InflightMemory::make(const InflightDescription& wanted,
                                                  unsigned rings) {
  if (auto right = check_counts(wanted, rings); !right) return forward(right);
  Made made{wanted, UniqueFd(::memfd_create("bellhop-inflight", MFD_CLOEXEC | MFD_ALLOW_SEALING))};
  made.region.mmap_offset = 0;
  made.region.padding = 0;
  made.region.mmap_size = (bytes_of(wanted, true) + kSmallPage - 1) / kSmallPage * kSmallPage;
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
  if (region.mmap_size < bytes_of(region, false)) {
    return fail(fmt::format("{} bytes for {} queues of {} entries", region.mmap_size,
                            region.num_queues, region.queue_size));
  }
  // No more than can be needed, however large the file is.
  auto mapping =
      PeerMapping::map(file, region.mmap_offset, region.mmap_size, bytes_of(region, true), faulted);
  if (!mapping) return forward(mapping);
  return InflightMemory(region, std::move(*mapping));
}

void InflightMemory::forget() const noexcept { std::memset(mapping_.begin(), 0, mapping_.bytes()); }

Result<std::optional<InflightQueue>> InflightMemory::queue(unsigned index, bool packed) const {
  if (index >= region_.num_queues) return std::optional<InflightQueue>();
  if (bytes_of(region_, packed) > mapping_.bytes()) {
    return fail(
        fmt::format("the region of requests in flight has {} bytes: too few for {} packed "
                    "rings of {}",
                    mapping_.bytes(), region_.num_queues, region_.queue_size));
  }
  const std::uint64_t bytes = inflight_queue_bytes(packed, region_.queue_size);
  return std::optional<InflightQueue>(
      {.bytes = GuestSpan(mapping_.begin() + index * bytes, bytes), .entries = region_.queue_size});
}

}  // namespace bellhop
