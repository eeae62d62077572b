#include "control/api/api_socket.h"

#include <fmt/format.h>
#include <unistd.h>

#include <charconv>
#include <string>

namespace bellhop::control {

Result<UnixListener> open_api_socket(std::string_view at) {
  constexpr std::string_view kFd = "fd=";
  constexpr mode_t kOwnersAlone = 0600;
  const auto named = [&](const Error& error) {
    return fail(fmt::format("{}: {}", at, error.message), error.code);
  };
  if (!at.starts_with(kFd)) {
    auto listener = UnixListener::listen(std::string(at), kOwnersAlone);
    if (!listener) return named(listener.error());
    return listener;
  }
  int fd = -1;
  const char* const last = at.data() + at.size();
  const auto [end, error] = std::from_chars(at.data() + kFd.size(), last, fd);
  if (error != std::errc() || end != last || fd <= STDERR_FILENO) {
    return fail(fmt::format("'{}' is wrong; it must be a path, or fd=N with N of 3 or more", at));
  }
  auto listener = UnixListener::adopt(UniqueFd(fd));
  if (!listener) return named(listener.error());
  return listener;
}

}  // namespace bellhop::control
