#include "base/descriptor_limit.h"

#include <sys/resource.h>

#include <optional>

namespace bellhop::descriptor_limit {

namespace {

std::optional<rlim_t> inherited;  ///< nothing: never raised

void set_soft(rlim_t soft) noexcept {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = soft;
  (void)::setrlimit(RLIMIT_NOFILE, &limit);
}

}  // namespace

void raise() noexcept {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == limit.rlim_max) return;
  const rlim_t before = limit.rlim_cur;
  limit.rlim_cur = limit.rlim_max;
  if (::setrlimit(RLIMIT_NOFILE, &limit) == 0) inherited = before;
}

AsInherited::AsInherited() noexcept {
  if (inherited) set_soft(*inherited);
}

AsInherited::~AsInherited() {
  rlimit limit{};
  if (inherited && ::getrlimit(RLIMIT_NOFILE, &limit) == 0) set_soft(limit.rlim_max);
}

}  // namespace bellhop::descriptor_limit
