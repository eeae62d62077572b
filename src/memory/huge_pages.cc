#include "memory/huge_pages.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/memfd.h>
#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <string>

#include "base/units.h"

namespace bellhop {

namespace {

/// A count of the host's pool; 0 if it cannot be read.
std::uint64_t count_of(const std::string& what) {
  std::uint64_t count = 0;
  std::ifstream("/sys/kernel/mm/hugepages/hugepages-2048kB/" + what) >> count;
  return count;
}

struct Pool {
  std::uint64_t pages = count_of("nr_hugepages");
  std::uint64_t free = count_of("free_hugepages");
  std::uint64_t promised = count_of("resv_hugepages");  ///< of the free ones, to others

  [[nodiscard]] std::uint64_t available() const { return free - std::min(free, promised); }
};

/// Reserves what is not there yet. A mapping is what the kernel reserves for, at once and whole;
/// the file keeps it.
bool reserve(const UniqueFd& file, std::uint64_t size) {
  void* const mapped = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0);
  if (mapped == MAP_FAILED) return false;
  ::munmap(mapped, size);
  return true;
}

}  // namespace

Result<UniqueFd> make_huge_file(std::uint64_t size) {
  UniqueFd file(::memfd_create("bellhop-guest",
                               MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_HUGETLB | MFD_HUGE_2MB));
  if (!file.valid()) return fail_errno("hugepages: this kernel has no huge pages of 2M");
  const Pool pool;  // as it is before we take from it
  const auto bytes = static_cast<off_t>(size);
  // Reserving is quick, and tells before gigabytes have been cleared. It does not ask the cgroup.
  if (::ftruncate(file.get(), bytes) == 0 && reserve(file, size)) {
    int done = -1;
    do {
      done = ::fallocate(file.get(), 0, 0, bytes);
    } while (done != 0 && errno == EINTR);
    if (done == 0) return file;
  }
  const int code = errno;
  const std::uint64_t needed = size / kHugePage;
  const std::uint64_t there = pool.available();
  if (there >= needed) {
    return fail_errno(fmt::format("hugepages: {} of 2M are free, but the host refuses {}; "
                                  "look at the limit of the cgroup (hugetlb.2MB.max)",
                                  there, needed),
                      code);
  }
  return fail(fmt::format("hugepages: {} are {} huge pages of 2M, and the host has {} to spare; "
                          "set vm.nr_hugepages to {} or more",
                          format_size(size), needed, there, pool.pages - there + needed),
              code);
}

}  // namespace bellhop
