#pragma once

#include <string_view>

#include "base/result.h"
#include "base/unix_socket.h"

namespace bellhop::control {

/// Where the API's clients connect: a path, whose socket only the owner may use, or "fd=N": one
/// that was passed to us and listens. Errors: without the option's name.
Result<UnixListener> open_api_socket(std::string_view at);

}  // namespace bellhop::control
