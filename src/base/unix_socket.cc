#include "base/unix_socket.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "base/passed_fds.h"

namespace bellhop {

namespace {

static_assert(kMaxUnixPath + 1 == sizeof(sockaddr_un::sun_path));

/// `path` must fit.
sockaddr_un address_of(std::string_view path) noexcept {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.data(), path.size());
  return address;
}

bool bind_to(int socket, std::string_view path) noexcept {
  const sockaddr_un address = address_of(path);
  return ::bind(socket, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
}

/// Removes what is at `path` if it is a socket at which nobody listens any more.
Status remove_dead(const std::string& path) {
  struct stat info {};
  if (::lstat(path.c_str(), &info) == 0 && !S_ISSOCK(info.st_mode)) {
    return fail("is there already, and is no socket");
  }
  const UniqueFd probe = make_unix_socket();
  if (!probe.valid() || connect_unix(probe.get(), path) != ECONNREFUSED) {
    return fail("is in use by another program");
  }
  (void)::unlink(path.c_str());
  return {};
}

}  // namespace

UniqueFd make_unix_socket() noexcept {
  return UniqueFd(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
}

int connect_unix(int socket, std::string_view path) noexcept {
  if (path.empty() || path.size() > kMaxUnixPath) return ENAMETOOLONG;
  const sockaddr_un address = address_of(path);
  const auto* const at = reinterpret_cast<const sockaddr*>(&address);
  return ::connect(socket, at, sizeof address) == 0 ? 0 : errno;
}

Result<UnixListener> UnixListener::listen(const std::string& path, std::optional<mode_t> mode) {
  if (path.empty() || path.size() > kMaxUnixPath || path.find('\0') != std::string::npos) {
    return fail(fmt::format("must have 1 to {} characters", kMaxUnixPath));
  }
  UniqueFd socket = make_unix_socket();
  if (!socket.valid()) return fail_errno("cannot make a socket");
  // The file is made with the socket's own mode: there is no moment at which others may connect.
  if (mode && ::fchmod(socket.get(), *mode) != 0) return fail_errno("cannot get its mode");
  bool bound = bind_to(socket.get(), path);
  if (!bound && errno == EADDRINUSE) {
    if (auto removed = remove_dead(path); !removed) return forward(removed);
    bound = bind_to(socket.get(), path);
  }
  if (!bound) return fail_errno("cannot be made");
  UnixListener made(std::move(socket), path);
  struct stat info {};
  if (::lstat(path.c_str(), &info) == 0) {
    made.device_ = info.st_dev;
    made.inode_ = info.st_ino;
  }
  if (::listen(made.fd(), SOMAXCONN) != 0) return fail_errno("cannot listen");
  return made;
}

Result<UnixListener> UnixListener::adopt(UniqueFd socket) {
  int value = 0;
  const auto is = [&](int option, int wanted) {
    socklen_t size = sizeof value;
    return ::getsockopt(socket.get(), SOL_SOCKET, option, &value, &size) == 0 && value == wanted;
  };
  if (!is(SO_DOMAIN, AF_UNIX) || !is(SO_TYPE, SOCK_STREAM) || !is(SO_ACCEPTCONN, 1)) {
    return fail("is no Unix stream socket that listens");
  }
  const int flags = ::fcntl(socket.get(), F_GETFL);
  if (flags < 0 || ::fcntl(socket.get(), F_SETFL, flags | O_NONBLOCK) != 0 ||
      ::fcntl(socket.get(), F_SETFD, FD_CLOEXEC) != 0) {
    return fail_errno("cannot be prepared");
  }
  return UnixListener(std::move(socket), {});
}

Result<UnixListener> UnixListener::adopt(std::string_view number) {
  auto fd = take_inherited_fd(number);
  if (!fd) return forward(fd);
  return adopt(std::move(*fd));
}

UnixListener::~UnixListener() {
  struct stat info {};
  if (socket_.valid() && !path_.empty() && ::lstat(path_.c_str(), &info) == 0 &&
      info.st_dev == device_ && info.st_ino == inode_) {
    (void)::unlink(path_.c_str());
  }
}

UniqueFd UnixListener::accept() const noexcept {
  return UniqueFd(::accept4(socket_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
}

}  // namespace bellhop
