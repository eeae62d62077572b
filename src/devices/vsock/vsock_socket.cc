#include "devices/vsock/vsock_socket.h"

#include <fmt/format.h>

#include <array>
#include <utility>

#include "base/connecting.h"

namespace bellhop {

Result<std::unique_ptr<VsockSocket>> VsockSocket::listen(const std::string& path) {
  if (path.empty() || path.size() > kMaxPath) {
    return fail(fmt::format("--vsock: uds={} must have 1 to {} characters", path, kMaxPath));
  }
  auto listener = UnixListener::listen(path);
  if (!listener) {
    return fail(fmt::format("--vsock: uds={} {}", path, listener.error().message),
                listener.error().code);
  }
  return std::unique_ptr<VsockSocket>(new VsockSocket(std::move(*listener)));
}

UniqueFd VsockSocket::dial(std::uint32_t port) noexcept {
  std::array<char, kMaxUnixPath> path{};
  const auto end = fmt::format_to_n(path.data(), path.size(), "{}_{}", listener_.path(), port);
  UniqueFd socket;
  const auto ran = run_connecting("--vsock", [&] {
    socket = make_unix_socket();
    if (!socket.valid()) return;
    if (connect_unix(socket.get(), {path.data(), end.size}) != 0) socket.reset();
  });
  return ran ? std::move(socket) : UniqueFd();
}

}  // namespace bellhop
