#include "control/api/api_socket.h"

#include <fmt/format.h>

#include <string>

namespace bellhop::control {

Result<UnixListener> open_api_socket(std::string_view at) {
  constexpr std::string_view kFd = "fd=";
  constexpr mode_t kOwnersAlone = 0600;
  auto listener = at.starts_with(kFd) ? UnixListener::adopt(at.substr(kFd.size()))
                                      : UnixListener::listen(std::string(at), kOwnersAlone);
  if (listener) return listener;
  return fail(fmt::format("{}: {}", at, listener.error().message), listener.error().code);
}

}  // namespace bellhop::control
