#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <string>

#include "base/result.h"
#include "base/unique_fd.h"
#include "devices/vsock/switchboard.h"

namespace bellhop {

/// The Unix socket PATH that programs of the host connect to, and its neighbours PATH_PORT, which
/// they listen on. The file is made, and removed again.
class VsockSocket final : public VsockDialer {
 public:
  /// Of PATH: with "_4294967295" behind it, it must fit into an address.
  static constexpr std::size_t kMostPath = 96;

  /// Errors name the option: a path that is too long, is there already, or cannot be made.
  static Result<std::unique_ptr<VsockSocket>> listen(const std::string& path);
  /// Removes the file, unless somebody has put another one in its place.
  ~VsockSocket();
  VsockSocket(const VsockSocket&) = delete;
  VsockSocket& operator=(const VsockSocket&) = delete;

  [[nodiscard]] int fd() const noexcept { return socket_.get(); }
  UniqueFd dial(std::uint32_t port) noexcept override;

 private:
  VsockSocket() = default;

  std::string path_;
  UniqueFd socket_;
  dev_t device_ = 0;
  ino_t inode_ = 0;
};

}  // namespace bellhop
