#include "transport/vhost_user/peer_event.h"

#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <string>
#include <string_view>
#include <utility>

namespace bellhop {

Result<EventFd> take_peer_event(UniqueFd fd) {
  // A loop that reads anything else, a file or a pipe, could wait for it, or never come to its end.
  const std::string link = fmt::format("/proc/self/fd/{}", fd.get());
  std::array<char, 64> name{};
  const ssize_t length = ::readlink(link.c_str(), name.data(), name.size());
  if (length < 0) return fail_errno("cannot tell what a descriptor is (/proc)");
  if (std::string_view(name.data(), static_cast<std::size_t>(length)) != "anon_inode:[eventfd]") {
    return fail("its descriptor is no eventfd", EPROTO);
  }
  return EventFd::adopt(std::move(fd));
}

}  // namespace bellhop
