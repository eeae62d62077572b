#include "transport/vhost_user/peer_mapping.h"

#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>

#include "transport/vhost_user/peer_file.h"

namespace bellhop {

Result<PeerMapping> PeerMapping::map(const UniqueFd& file, std::uint64_t offset,
                                     std::uint64_t bytes, std::uint64_t most,
                                     const EventFd& faulted) {
  const auto page = page_of_peer_file(file);
  if (!page) return forward(page);
  struct stat info {};
  if (::fstat(file.get(), &info) != 0) return fail_errno("cannot look at a region's file");
  const auto all = static_cast<std::uint64_t>(info.st_size);
  if (bytes == 0 || offset % *page != 0 || offset > all || bytes > all - offset) {
    return fail(fmt::format("{} bytes at {:#x} of a file that has {}", bytes, offset, all));
  }
  const std::uint64_t used = std::min(bytes, most);
  const std::uint64_t mapped = (used + *page - 1) / *page * *page;
  void* const begin = ::mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_SHARED, file.get(),
                             static_cast<off_t>(offset));
  if (begin == MAP_FAILED) return fail_errno("cannot map a region's file");
  PeerMapping mapping(static_cast<std::byte*>(begin), used, mapped);
  auto guard = FaultGuard::guard(mapping.begin_, mapped, *page, faulted);
  if (!guard) return forward(guard);
  mapping.guard_.emplace(std::move(*guard));
  return mapping;
}

PeerMapping::~PeerMapping() {
  guard_.reset();  // before its memory
  if (begin_ != nullptr) ::munmap(begin_, mapped_);
}

}  // namespace bellhop
