#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <set>
#include <vector>

#include "base/unique_fd.h"
#include "memory/dirty_log.h"
#include "memory/guest_memory.h"

namespace bellhop::testing {

/// Numbers of pages.
using Pages = std::set<std::uint64_t>;

inline Pages pages_of(GuestAddress address, std::uint64_t bytes) {
  Pages pages;
  for (std::uint64_t page = address.value() / DirtyLog::kPage;
       page < DirtyLog::pages_to(address.value() + bytes); ++page) {
    pages.insert(page);
  }
  return pages;
}

/// The log of a front end whose guest moves: a memfd, of which a back end gets a copy.
class PageLog {
 public:
  /// With a bit for each page of `memory`.
  explicit PageLog(const GuestMemory& memory)
      : PageLog((DirtyLog::pages_to(end_of(memory)) + 7) / 8) {}
  explicit PageLog(std::uint64_t bytes)
      : bytes_(bytes), file_(::memfd_create("test-log", MFD_CLOEXEC)) {
    if (::ftruncate(file_.get(), static_cast<off_t>(bytes)) != 0) std::abort();
    bits_ = static_cast<std::uint8_t*>(
        ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file_.get(), 0));
    if (bits_ == MAP_FAILED) std::abort();
  }
  ~PageLog() { ::munmap(bits_, bytes_); }
  PageLog(const PageLog&) = delete;
  PageLog& operator=(const PageLog&) = delete;

  [[nodiscard]] int fd() const noexcept { return file_.get(); }
  [[nodiscard]] std::uint64_t bytes() const noexcept { return bytes_; }
  /// The pages that are marked; none is, afterwards. While the file is whole.
  Pages take() {
    Pages marked;
    for (std::uint64_t i = 0; i < bytes_; ++i) {
      // A front end does so while the back end goes on.
      std::atomic_ref<std::uint8_t> byte(bits_[i]);
      if (byte.load(std::memory_order_relaxed) == 0) continue;
      const std::uint8_t bits = byte.exchange(0);
      for (unsigned bit = 0; bit < 8; ++bit) {
        if ((bits >> bit & 1) != 0) marked.insert(i * 8 + bit);
      }
    }
    return marked;
  }

 private:
  static std::uint64_t end_of(const GuestMemory& memory) {
    const GuestMemory::Region& last = memory.regions().back();
    return last.base.value() + last.size;
  }

  std::uint64_t bytes_;
  UniqueFd file_;
  std::uint8_t* bits_ = nullptr;
};

/// Guest memory as it was at a moment.
class MemoryImage {
 public:
  explicit MemoryImage(const GuestMemory& memory) : memory_(&memory) {
    for (const auto& region : memory.regions()) {
      copies_.emplace_back(region.host, region.host + region.size);
    }
  }
  /// Pages that are different now.
  [[nodiscard]] Pages changed() const {
    Pages pages;
    for (std::size_t i = 0; i < copies_.size(); ++i) {
      const auto& region = memory_->regions()[i];
      for (std::uint64_t at = 0; at < region.size; at += DirtyLog::kPage) {
        if (std::memcmp(region.host + at, copies_[i].data() + at, DirtyLog::kPage) != 0) {
          pages.insert((region.base.value() + at) / DirtyLog::kPage);
        }
      }
    }
    return pages;
  }

 private:
  const GuestMemory* memory_;
  std::vector<std::vector<std::byte>> copies_;
};

/// Those of `some` that are not among `all`.
inline Pages missing(const Pages& some, const Pages& all) {
  Pages left;
  std::ranges::set_difference(some, all, std::inserter(left, left.end()));
  return left;
}

}  // namespace bellhop::testing
