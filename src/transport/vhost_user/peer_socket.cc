#include "transport/vhost_user/peer_socket.h"

#include <sys/socket.h>

#include <cerrno>
#include <cstdint>

namespace bellhop {

namespace {

bool has(int socket, int option, int wanted) noexcept {
  int value = 0;
  socklen_t size = sizeof value;
  return ::getsockopt(socket, SOL_SOCKET, option, &value, &size) == 0 && value == wanted;
}

}  // namespace

bool PeerSocket::is_one(const UniqueFd& fd) noexcept {
  return has(fd.get(), SO_DOMAIN, AF_UNIX) && has(fd.get(), SO_TYPE, SOCK_STREAM);
}

void PeerSocket::call() const noexcept {
  const std::uint64_t one = 1;
  while (::send(fd_.get(), &one, sizeof one, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 && errno == EINTR) {
  }
}

}  // namespace bellhop
