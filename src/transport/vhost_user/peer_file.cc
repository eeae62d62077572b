#include "transport/vhost_user/peer_file.h"

#include <linux/magic.h>
#include <sys/vfs.h>

namespace bellhop {

Result<std::uint64_t> page_of_peer_file(const UniqueFd& file) {
  struct statfs system {};
  if (::fstatfs(file.get(), &system) != 0) return fail_errno("cannot look at a region's file");
  if (system.f_type != TMPFS_MAGIC && system.f_type != HUGETLBFS_MAGIC) {
    return fail("a region's file is no memfd, nor on tmpfs or hugetlbfs");
  }
  return static_cast<std::uint64_t>(system.f_bsize);
}

}  // namespace bellhop
