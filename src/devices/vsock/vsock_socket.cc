#include "devices/vsock/vsock_socket.h"

#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstring>
#include <utility>

namespace bellhop {

namespace {

constexpr int kBacklog = 128;

UniqueFd make_socket() noexcept {
  return UniqueFd(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
}

/// `path` must fit.
std::pair<sockaddr_un, socklen_t> address_of(std::string_view path) noexcept {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.data(), path.size());
  return {address, static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size() + 1)};
}

int connect_to(const UniqueFd& socket, std::string_view path) noexcept {
  const auto [address, bytes] = address_of(path);
  return ::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), bytes) == 0 ? 0
                                                                                          : errno;
}

/// Why nothing could be made at a path where something is.
Status is_there(const std::string& path) {
  struct stat info {};
  if (::lstat(path.c_str(), &info) == 0 && !S_ISSOCK(info.st_mode)) {
    return fail(fmt::format("--vsock: uds={} is there already, and is no socket", path));
  }
  const UniqueFd probe = make_socket();
  if (probe.valid() && connect_to(probe, path) == ECONNREFUSED) {
    return fail(
        fmt::format("--vsock: uds={} is left over from a program that has ended: remove it", path));
  }
  return fail(fmt::format("--vsock: uds={} is in use by another program", path));
}

}  // namespace

Result<std::unique_ptr<VsockSocket>> VsockSocket::listen(const std::string& path) {
  if (path.empty() || path.size() > kMostPath || path.find('\0') != std::string::npos) {
    return fail(fmt::format("--vsock: uds={} must have 1 to {} characters", path, kMostPath));
  }
  std::unique_ptr<VsockSocket> made(new VsockSocket());
  made->socket_ = make_socket();
  if (!made->socket_.valid()) return fail_errno("--vsock: cannot make a socket");
  const auto [address, bytes] = address_of(path);
  if (::bind(made->socket_.get(), reinterpret_cast<const sockaddr*>(&address), bytes) != 0) {
    if (errno == EADDRINUSE) return forward(is_there(path));
    return fail_errno(fmt::format("--vsock: cannot make uds={}", path));
  }
  made->path_ = path;
  struct stat info {};
  if (::lstat(path.c_str(), &info) == 0) {
    made->device_ = info.st_dev;
    made->inode_ = info.st_ino;
  }
  if (::listen(made->socket_.get(), kBacklog) != 0) {
    return fail_errno(fmt::format("--vsock: cannot listen on uds={}", path));
  }
  return made;
}

VsockSocket::~VsockSocket() {
  struct stat info {};
  if (!path_.empty() && ::lstat(path_.c_str(), &info) == 0 && info.st_dev == device_ &&
      info.st_ino == inode_) {
    (void)::unlink(path_.c_str());
  }
}

UniqueFd VsockSocket::dial(std::uint32_t port) noexcept {
  std::array<char, sizeof(sockaddr_un::sun_path)> path{};
  const auto end = fmt::format_to_n(path.data(), path.size(), "{}_{}", path_, port);
  UniqueFd socket = make_socket();
  // A Unix socket is connected at once or not at all: a full backlog is a refusal.
  if (!socket.valid() || connect_to(socket, {path.data(), end.size}) != 0) return {};
  return socket;
}

}  // namespace bellhop
