#include "base/passed_fds.h"

#include <unistd.h>

#include <cassert>
#include <charconv>
#include <cstddef>
#include <cstring>

namespace bellhop {

bool take_passed_fds(::msghdr& message, std::vector<UniqueFd>& fds) {
  for (cmsghdr* one = CMSG_FIRSTHDR(&message); one != nullptr; one = CMSG_NXTHDR(&message, one)) {
    if (one->cmsg_level != SOL_SOCKET || one->cmsg_type != SCM_RIGHTS) continue;
    const std::size_t count = (one->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(one) + i * sizeof fd, sizeof fd);
      fds.emplace_back(fd);
    }
  }
  return (message.msg_flags & MSG_CTRUNC) == 0;
}

void pass_fds(::msghdr& message, std::span<const int> fds, std::span<std::byte> control) noexcept {
  assert(!fds.empty() && control.size() >= CMSG_SPACE(fds.size_bytes()));
  message.msg_control = control.data();
  message.msg_controllen = CMSG_SPACE(fds.size_bytes());
  cmsghdr* const rights = CMSG_FIRSTHDR(&message);
  rights->cmsg_level = SOL_SOCKET;
  rights->cmsg_type = SCM_RIGHTS;
  rights->cmsg_len = CMSG_LEN(fds.size_bytes());
  std::memcpy(CMSG_DATA(rights), fds.data(), fds.size_bytes());
}

Result<UniqueFd> take_inherited_fd(std::string_view number) {
  int fd = -1;
  const char* const last = number.data() + number.size();
  const auto [end, error] = std::from_chars(number.data(), last, fd);
  if (number.starts_with('0') || error != std::errc() || end != last || fd <= STDERR_FILENO) {
    return fail("must be a descriptor's number, 3 or more");
  }
  return UniqueFd(fd);
}

}  // namespace bellhop
