#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/result.h"
#include "base/unique_fd.h"
#include "base/unix_socket.h"
#include "devices/vsock/vsock_muxer.h"

namespace bellhop {

/// The Unix socket PATH that programs of the host connect to, and its neighbours PATH_PORT, which
/// they listen on. The file is made, and removed again.
class VsockSocket final : public VsockDialer {
 public:
  /// Of PATH: with "_4294967295" behind it, it must fit into an address.
  static constexpr std::size_t kMaxPath = 96;

  /// Errors name the option; otherwise as UnixListener::listen().
  static Result<std::unique_ptr<VsockSocket>> listen(const std::string& path);
  [[nodiscard]] int fd() const noexcept { return listener_.fd(); }
  UniqueFd dial(std::uint32_t port) noexcept override;

 private:
  explicit VsockSocket(UnixListener listener) : listener_(std::move(listener)) {}

  UnixListener listener_;
};

}  // namespace bellhop
