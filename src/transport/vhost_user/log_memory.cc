#include "transport/vhost_user/log_memory.h"

#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "transport/vhost_user/peer_file.h"

namespace bellhop {

Result<LogMemory> LogMemory::map(const vhost_user::LogDescription& log, const UniqueFd& file,
                                 const EventFd& faulted) {
  const auto page = page_of_peer_file(file);
  if (!page) return forward(page);
  struct stat info {};
  if (::fstat(file.get(), &info) != 0) return fail_errno("cannot look at the log's file");
  const auto bytes = static_cast<std::uint64_t>(info.st_size);
  if (log.mmap_size == 0 || log.mmap_offset % *page != 0 || log.mmap_offset > bytes ||
      log.mmap_size > bytes - log.mmap_offset) {
    return fail(fmt::format("a log of {} bytes at {:#x} of a file that has {}", log.mmap_size,
                            log.mmap_offset, bytes));
  }
  const std::uint64_t mapped = (log.mmap_size + *page - 1) / *page * *page;
  void* const begin = ::mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_SHARED, file.get(),
                             static_cast<off_t>(log.mmap_offset));
  if (begin == MAP_FAILED) return fail_errno("cannot map the log's file");
  LogMemory memory(static_cast<std::byte*>(begin), log.mmap_size, mapped);
  auto guard = FaultGuard::guard(memory.begin_, mapped, *page, faulted);
  if (!guard) return forward(guard);
  memory.guard_.emplace(std::move(*guard));
  return memory;
}

LogMemory::~LogMemory() {
  guard_.reset();  // before its memory
  if (begin_ != nullptr) ::munmap(begin_, mapped_);
}

}  // namespace bellhop
